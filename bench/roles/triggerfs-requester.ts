import type { CallHandlers } from '../../client/index.ts';
import { Client } from '../../client/index.ts';
import { Credentials } from '../../runtime/credentials.ts';
import { silentLogger } from '../../runtime/logging.ts';
import type { Exchange, Requester } from './closed-loop.ts';
import { loadRole, type Role } from './role.ts';

/** Whom a requester calls, and as whom. */
export interface TriggerFsTarget {
  readonly api: string;
  readonly team: string;
  readonly identity: string;
  readonly secret: string;
  readonly service: string;
  readonly plugin: string;
  readonly region: string;
}

const HANDLERS: CallHandlers = {
  output: (call, data) => (call.tag as Exchange).answered(data),
  done: (call, { verdict, detail }) => (call.tag as Exchange).done(verdict === 'ok' ? null : `${verdict} ${detail}`),
};

/** Requests through a broker, by the client library: CURVE and tokens as always. */
export async function start(target: TriggerFsTarget): Promise<Role> {
  const { api, team, identity, secret, service, plugin, region } = target;
  const log = silentLogger();
  const credentials = new Credentials({ api, method: { kind: 'user', team, identity, secret }, log });
  const client = new Client({ credentials, log, agent: 'bench', region });
  await client.start();
  const route = client.route({ service, plugin });
  const requester: Requester = {
    request: (exchange) => void route.send(exchange.payload, HANDLERS, { tag: exchange }),
  };
  return loadRole(requester, async () => {
    await client.stop();
    credentials.stop();
  });
}
