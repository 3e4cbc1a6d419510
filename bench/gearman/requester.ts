import type { Exchange, Requester } from '../roles/closed-loop.ts';
import { loadRole, type Role } from '../roles/role.ts';
import { GearmanConnection } from './connection.ts';
import { PacketType, packet } from './packets.ts';

const NUL = 0;

/** Foreground jobs over one connection. JOB_CREATED comes in the order of submission and gives the handle that the answer carries. */
export async function start({ port, name }: { readonly port: number; readonly name: string }): Promise<Role> {
  const submitted: Exchange[] = [];
  const running = new Map<string, Exchange>();
  const connection = await GearmanConnection.open(port, (type, data) => {
    if (type === PacketType.jobCreated) {
      const exchange = submitted.shift();
      if (exchange !== undefined) running.set(data.toString('latin1'), exchange);
      return;
    }
    const end = data.indexOf(NUL);
    const handle = data.toString('latin1', 0, end < 0 ? data.length : end);
    const exchange = running.get(handle);
    running.delete(handle);
    if (type === PacketType.workComplete) exchange?.answered(data.subarray(end + 1));
    exchange?.done(type === PacketType.workComplete ? null : `packet type ${type}`);
  });
  const requester: Requester = {
    request: (exchange) => {
      submitted.push(exchange);
      connection.send(packet(PacketType.submitJob, name, '', exchange.payload));
    },
  };
  return loadRole(requester, async () => connection.close());
}
