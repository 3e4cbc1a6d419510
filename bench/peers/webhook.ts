import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, untilListening } from '../stage/ports.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Stage } from '../stage/stage.ts';
import { notInstalled, type PeerOrReason } from './peer.ts';

/** adnanh/webhook from Debian, running a program for each POST and answering with its output. */
export async function startWebhook(stage: Stage, program: string): Promise<PeerOrReason> {
  const name = 'webhook';
  const command = stage.find('webhook');
  if (command === null) return { name, missing: notInstalled('webhook', 'webhook') };
  const hooks = join(stage.folder, 'hooks.json');
  writeFileSync(
    hooks,
    JSON.stringify([
      { id: 'true', 'execute-command': program, 'command-working-directory': '/', 'include-command-output-in-response': true },
    ]),
  );
  const port = await freePort();
  const server = stage.start({ name: 'webhook', command, args: ['-hooks', hooks, '-ip', '127.0.0.1', '-port', String(port)] });
  await untilListening(server, port);
  const load = await RoleProcess.start(stage, 'webhook-requester', { url: `http://127.0.0.1:${port}/hooks/true` });
  return { name, load, pids: [{ name: 'webhook', pid: server.pid }] };
}
