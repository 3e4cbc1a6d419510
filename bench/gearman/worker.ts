import { type Role, servingRole } from '../roles/role.ts';
import { GearmanConnection } from './connection.ts';
import { PacketType, packet } from './packets.ts';

/** Jobs asked for at once: the protocol hands out one for each GRAB_JOB. */
const GRABS = 64;
const NUL = 0;

/** Answers each job with its workload. Asks for many jobs at once, which is kinder to gearmand than one after another. */
export async function start({ port, name }: { readonly port: number; readonly name: string }): Promise<Role> {
  const grab = packet(PacketType.grabJob);
  let outstanding = 0;
  const connection = await GearmanConnection.open(port, (type, data) => {
    if (type === PacketType.noop) return refill();
    outstanding -= 1;
    if (type === PacketType.noJob) {
      if (outstanding === 0) connection.send(packet(PacketType.preSleep));
      return;
    }
    const handleEnd = data.indexOf(NUL);
    const nameEnd = data.indexOf(NUL, handleEnd + 1);
    connection.send(packet(PacketType.workComplete, data.subarray(0, handleEnd), data.subarray(nameEnd + 1)));
    outstanding += 1;
    connection.send(grab);
  });
  const refill = (): void => {
    for (; outstanding < GRABS; outstanding += 1) connection.send(grab);
  };
  connection.send(packet(PacketType.canDo, name));
  refill();
  return servingRole(name, async () => connection.close());
}
