import { readFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { TriggerFsError } from '../../protocol/errors.ts';

/**
 * Marks a folder as used by this process, so that two servers never share one. The mark of a process that was killed
 * does not count: its number and start time are compared with what runs now.
 * @throws TriggerFsError TFS_CONFLICT when a living process uses the folder
 */
export async function takeOwnership(file: string): Promise<void> {
  const mark = await readFile(file, 'utf8').catch(() => null);
  const pid = Number.parseInt(mark ?? '', 10);
  if (mark !== null && pid > 0 && mark === describe(pid) && isAlive(pid)) {
    throw new TriggerFsError('TFS_CONFLICT', `the database folder of ${file} is in use by process ${pid}`);
  }
  await writeFile(file, describe(process.pid), { mode: 0o600 });
}

/** Removes the mark. */
export async function releaseOwnership(file: string): Promise<void> {
  await rm(file, { force: true });
}

/** Whether a process with this number exists, of whatever user. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Number and, where /proc tells it, start time in clock ticks, so that a reused number is not mistaken for the owner.
 * A process that is dead and only not yet collected by its parent (state Z) matches no mark.
 */
function describe(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 'dead' : `${pid} ${fields[19]}`;
  } catch {
    return `${pid}`;
  }
}
