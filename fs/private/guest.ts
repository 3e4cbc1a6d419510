import { readFileSync } from 'node:fs';

/** Position of the start time in /proc/PID/stat, counted from what follows the program's name. */
const START_TIME = 19;

/** The shell that a private mount serves. It has lost its console when that dies, as it would lose its terminal. */
export class Guest {
  readonly #pid: number;
  readonly #startTime: string | null;

  constructor(pid: number) {
    this.#pid = pid;
    this.#startTime = startTime(pid);
  }

  /** Hangs it up, as the end of its terminal would, if it still runs: another process may have its number now. */
  hangUp(): void {
    if (this.#startTime === null || startTime(this.#pid) !== this.#startTime) return;
    try {
      process.kill(this.#pid, 'SIGHUP');
    } catch {
      // It ended meanwhile.
    }
  }
}

/** Null for a process that is not there, and where the kernel tells nothing (macOS). */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_TIME] ?? null;
  } catch {
    return null;
  }
}
