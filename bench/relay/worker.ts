import { Dealer } from 'zeromq';
import { readBatch } from '../../protocol/batch.ts';
import { Outbox } from '../../runtime/wire/outbox.ts';
import { type Role, servingRole } from '../roles/role.ts';
import { RelayRecord } from './records.ts';

/** Answers each request of the bare relay with what it was sent. */
export async function start({ endpoint }: { readonly endpoint: string }): Promise<Role> {
  const socket = new Dealer({ linger: 0 });
  socket.connect(endpoint);
  const outbox = new Outbox(
    (batch) => socket.send(batch),
    () => undefined,
  );
  outbox.reserve(RelayRecord.hello, 0, 0);
  void receive(socket, outbox);
  return servingRole(endpoint, async () => socket.close());
}

async function receive(socket: Dealer, outbox: Outbox): Promise<void> {
  for await (const [batch] of socket) {
    if (batch === undefined) continue;
    readBatch(batch, (_type, _flags, source, start, end) => outbox.copy(RelayRecord.answer, 0, source, start, end));
  }
}
