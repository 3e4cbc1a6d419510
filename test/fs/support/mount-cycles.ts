import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { FuseMount } from '../../../fs/mount.ts';
import { detach, isMounted } from '../../../fs/mountpoint.ts';
import { createOperations, ExtendedAttributes, Files, Metadata } from '../../../fs/operations/index.ts';
import { Responses } from '../../../fs/responses.ts';
import { Spool } from '../../../fs/spool/spool.ts';
import { FileTree } from '../../../fs/tree.ts';
import { TreeEditor } from '../../../fs/tree-editor.ts';
import { silentLogger } from '../../../runtime/logging.ts';
import { until } from '../../support/wait.ts';
import { makeTrigger } from './fake-api.ts';

// Mounts and unmounts in one process, with writers at work all the time. Ends with 0 when every cycle was clean.
const [folder, mountpoint, cycles] = process.argv.slice(2) as [string, string, string];
const log = silentLogger();
const spool = Spool.open({ folder, limitBytes: 1e8, log, onAccepted: () => undefined });
const tree = new FileTree();
const directories = [{ id: 1, path: '/demo', mode: 0o775, updatedAt: new Date().toISOString() }];
tree.replace({ version: 1, directories, triggers: [makeTrigger(5, '/demo/x')] });
const responses = new Responses(spool);
const api = { call: () => Promise.reject(new Error('no control-plane')) };
const operations = createOperations(
  new Metadata({ tree, editor: new TreeEditor(api, tree, () => undefined), owner: { uid: 0, gid: 0 }, usage: () => spool.usage }),
  new Files({ tree, intake: spool, responses, mayWrite: () => true, connected: () => false }),
  new ExtendedAttributes(tree, responses),
);
const threads = (): number => readdirSync('/proc/self/task').length;

let threadsAtFirst = 0;
for (let cycle = 0; cycle < Number(cycles); cycle += 1) {
  const mount = await FuseMount.mount({ mountpoint, operations, allowOther: false, unmount: detach, log });
  const before = spool.usage.usedBytes;
  const load = spawn('bash', ['-c', 'while :; do echo load > "$1"/demo/x; done 2>/dev/null', 'bash', mountpoint], { stdio: 'ignore' });
  await until(() => spool.usage.usedBytes > before + 1000, { what: `messages of cycle ${cycle}` });
  await mount.unmount();
  load.kill('SIGKILL');
  await once(load, 'exit');
  if (isMounted(mountpoint)) throw new Error(`still mounted after cycle ${cycle}`);
  if (cycle === 4) threadsAtFirst = threads();
}
spool.close();
// Threads of an earlier mount may still be on their way out.
await until(() => threads() <= threadsAtFirst + 4, { what: `threads end (${threadsAtFirst} at first, ${threads()} now)` });
process.exit(0);
