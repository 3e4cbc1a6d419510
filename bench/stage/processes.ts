import { readFileSync } from 'node:fs';

/** Linux counts CPU time in these ticks, whatever the kernel's own clock is. */
const TICKS_PER_SECOND = 100;

/** CPU time that a process has used so far, all its threads, in seconds; 0 when it is gone. */
export function cpuSeconds(pid: number): number {
  const fields = statFields(pid);
  return fields === null ? 0 : (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process in MiB; 0 when it is gone. */
export function residentMiB(pid: number): number {
  const line = read(`/proc/${pid}/status`)?.match(/^VmRSS:\s+(\d+) kB$/m);
  return line === null || line === undefined ? 0 : Number(line[1]) / 1024;
}

/** Children of a process, their children, and so on. */
export function descendantsOf(pid: number): number[] {
  const text = (read(`/proc/${pid}/task/${pid}/children`) ?? '').trim();
  const children = text === '' ? [] : text.split(' ').map(Number);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

/** The fields of /proc/PID/stat after the name, which may itself hold spaces. */
function statFields(pid: number): string[] | null {
  const text = read(`/proc/${pid}/stat`);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
