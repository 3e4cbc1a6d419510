import { BrokerView } from '../../protocol/http/broker.ts';
import { listOf } from '../../protocol/http/common.ts';
import type { App, Services } from '../context.ts';
import { listBrokers } from './repository.ts';

/** The fleet of brokers. */
export function registerBrokers(app: App, { database }: Services): void {
  app.get(
    '/v1/brokers',
    { config: { policy: 'session' }, schema: { summary: 'Brokers of the fleet', response: { 200: listOf(BrokerView) } } },
    async () => ({ items: await database.fleet((tx) => listBrokers(tx)) }),
  );
}
