import { Dealer } from 'zeromq';
import { readBatch } from '../../protocol/batch.ts';
import { Outbox } from '../../runtime/wire/outbox.ts';
import { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { Exchange, Requester } from '../roles/closed-loop.ts';
import { loadRole, type Role } from '../roles/role.ts';
import { CALL_BYTES, RelayRecord } from './records.ts';

/** Sends requests through the bare relay. */
export async function start({ endpoint }: { readonly endpoint: string }): Promise<Role> {
  const socket = new Dealer({ linger: 0 });
  socket.connect(endpoint);
  const calls = new SlotTable<Exchange>();
  const outbox = new Outbox(
    (batch) => socket.send(batch),
    () => undefined,
  );
  const requester: Requester = {
    request: (exchange) => {
      const at = outbox.reserve(RelayRecord.request, 0, CALL_BYTES + exchange.payload.length);
      outbox.buffer.writeUInt32LE(calls.add(exchange), at);
      exchange.payload.copy(outbox.buffer, at + CALL_BYTES);
    },
  };
  void receive(socket, calls);
  return loadRole(requester, async () => socket.close());
}

async function receive(socket: Dealer, calls: SlotTable<Exchange>): Promise<void> {
  for await (const [batch] of socket) {
    if (batch === undefined) continue;
    readBatch(batch, (_type, _flags, source, start, end) => {
      const number = source.readUInt32LE(start);
      const exchange = calls.get(number);
      calls.remove(number);
      exchange?.answered(source.subarray(start + CALL_BYTES, end));
      exchange?.done(null);
    });
  }
}
