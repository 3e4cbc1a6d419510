import type { BrokerView } from '../../protocol/http/broker.ts';
import type { Transaction } from '../database.ts';
import { ALIVE, iso } from '../sql.ts';

/** Brokers of the fleet; one without a recent beat is shown as down. */
export function listBrokers(tx: Transaction): Promise<BrokerView[]> {
  return tx.rows<BrokerView>(
    `select b.id, b.endpoint, b.gateway_url as "gatewayUrl", b.public_key as "publicKey", b.region,
       case when b.beat_at > now() - ${ALIVE} then b.state else 'down' end as state,
       ${iso('b.started_at')} as "startedAt", ${iso('b.beat_at')} as "beatAt"
     from triggerfs.brokers b order by b.started_at`,
  );
}
