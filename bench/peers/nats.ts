import { freePort, untilListening } from '../stage/ports.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Stage } from '../stage/stage.ts';
import { notInstalled, type PeerOrReason } from './peer.ts';

const SUBJECT = 'bench.echo';

/** NATS: its server from Debian, requester and responder with its JavaScript client, a process each. */
export async function startNats(stage: Stage): Promise<PeerOrReason> {
  const name = 'NATS';
  const command = stage.find('nats-server');
  if (command === null) return { name, missing: notInstalled('nats-server', 'nats-server') };
  const port = await freePort();
  const server = stage.start({ name: 'nats-server', command, args: ['-a', '127.0.0.1', '-p', String(port)] });
  await untilListening(server, port);
  const url = `nats://127.0.0.1:${port}`;
  const responder = await RoleProcess.start(stage, 'nats-responder', { url, subject: SUBJECT });
  const load = await RoleProcess.start(stage, 'nats-requester', { url, subject: SUBJECT });
  const pids = [
    { name: 'requester', pid: load.program.pid },
    { name: 'nats-server', pid: server.pid },
    { name: 'responder', pid: responder.program.pid },
  ];
  return { name, load, pids };
}
