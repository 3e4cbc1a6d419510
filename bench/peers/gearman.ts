import { freePort, untilListening } from '../stage/ports.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Stage } from '../stage/stage.ts';
import { notInstalled, type PeerOrReason } from './peer.ts';

const FUNCTION = 'bench-echo';

/** gearmand from Debian, in memory; client and worker speak its binary protocol with pipelining, a process each. */
export async function startGearman(stage: Stage): Promise<PeerOrReason> {
  const name = 'gearmand';
  const command = stage.find('gearmand');
  if (command === null) return { name, missing: notInstalled('gearmand', 'gearman-job-server') };
  const port = await freePort();
  const server = stage.start({
    name: 'gearmand',
    command,
    args: ['--listen', '127.0.0.1', '--port', String(port), '--log-file', 'stderr'],
  });
  await untilListening(server, port);
  const worker = await RoleProcess.start(stage, 'gearman-worker', { port, name: FUNCTION });
  const load = await RoleProcess.start(stage, 'gearman-requester', { port, name: FUNCTION });
  const pids = [
    { name: 'client', pid: load.program.pid },
    { name: 'gearmand', pid: server.pid },
    { name: 'worker', pid: worker.program.pid },
  ];
  return { name, load, pids };
}
