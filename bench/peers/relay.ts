import { RoleProcess } from '../stage/role.ts';
import type { Stage } from '../stage/stage.ts';
import type { Peer } from './peer.ts';

/** The bare packed relay: three processes of this folder. */
export async function startRelay(stage: Stage): Promise<Peer> {
  const broker = await RoleProcess.start(stage, 'relay-broker', null);
  const endpoint = (await broker.call(null)) as string;
  const worker = await RoleProcess.start(stage, 'relay-worker', { endpoint });
  const load = await RoleProcess.start(stage, 'relay-requester', { endpoint });
  const pids = [
    { name: 'client', pid: load.program.pid },
    { name: 'broker', pid: broker.program.pid },
    { name: 'worker', pid: worker.program.pid },
  ];
  return { name: 'bare relay', load, pids };
}
