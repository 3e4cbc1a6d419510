import { accessSync, constants, readFileSync } from 'node:fs';
import { childEnvironment } from '../runtime/environment.ts';

const SETPRIV_PATHS = ['/usr/bin/setpriv', '/bin/setpriv'];

/**
 * Starts this process over under `setpriv --no-new-privs`, so that neither it nor any plugin can gain privileges by
 * set-uid programs. The attribute is inherited, so a run costs nothing for it. Does nothing where it holds already,
 * without setpriv, and for a child with an IPC channel (which would be lost): its parent starts it that way.
 */
export function giveUpPrivileges(): void {
  if (process.platform !== 'linux' || process.send !== undefined || process.execve === undefined || holds()) return;
  const setpriv = SETPRIV_PATHS.find(isExecutable);
  if (setpriv === undefined) return;
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve(setpriv, ['setpriv', '--no-new-privs', '--', ...command], childEnvironment({}) as Record<string, string>);
}

function holds(): boolean {
  return /^NoNewPrivs:\s*1$/m.test(readFileSync('/proc/self/status', 'utf8'));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
