import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';

const FIRST_FREE = 3;

/**
 * Runs a program to its end, without a shell; SIGKILL after the limit.
 * libfuse leaves /dev/fuse open for children. One that looks at the mount, as umount does, and outlives this process
 * would keep the mount alive with nobody to answer, and hang for ever; so children get no such descriptor.
 * @throws Error with what the program said when it fails
 */
export async function runChild(program: string, args: readonly string[], limitMs: number): Promise<void> {
  const nothing = openSync('/dev/null', 'r');
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe', ...new Array<number>(openForChildren()).fill(nothing)],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  });
  closeSync(nothing);
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} failed (${signal ?? `exit code ${code}`})${said === '' ? '' : `: ${said.trim()}`}`));
    });
  });
}

/** How many descriptors from 3 on must be replaced to reach the last one that leads to /dev/fuse. */
function openForChildren(): number {
  let last = FIRST_FREE - 1;
  for (const entry of descriptors()) {
    try {
      if (readlinkSync(`/proc/self/fd/${entry}`) === '/dev/fuse') last = Math.max(last, Number(entry));
    } catch {
      // It was closed meanwhile.
    }
  }
  return last + 1 - FIRST_FREE;
}

function descriptors(): string[] {
  try {
    return readdirSync('/proc/self/fd');
  } catch {
    return [];
  }
}
