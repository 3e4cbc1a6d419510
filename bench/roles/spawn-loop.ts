import { spawn } from 'node:child_process';
import type { Requester } from './closed-loop.ts';
import { loadRole, type Role } from './role.ts';

/** The baseline for exec plugins: spawn the program, wait for its end and the end of its output, nothing else. */
export async function start({ program }: { readonly program: string }): Promise<Role> {
  const requester: Requester = {
    request: (exchange) => {
      const child = spawn(program, { stdio: ['pipe', 'pipe', 'pipe'] });
      let failure: string | null = null;
      child.on('error', (error) => {
        failure = error.message;
      });
      child.stdin.on('error', () => undefined);
      child.stdin.end();
      child.stdout.resume();
      child.stderr.resume();
      child.on('close', (code) => exchange.done(failure ?? (code === 0 ? null : `exit code ${code}`)));
    },
  };
  return loadRole(requester);
}
