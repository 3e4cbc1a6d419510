import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const SETPRIV_PATHS = ['/usr/bin/setpriv', '/bin/setpriv'];

/** A program and its arguments. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * The same command under `setpriv --no-new-privs`, so that neither it nor any of its children can gain privileges by
 * set-uid programs; unchanged where setpriv does not exist. It is used for the spawner and for resident plugins:
 * processes of exec plugins inherit it from the spawner, so a run costs nothing for it.
 */
export function confined(command: Command): Command {
  const setpriv = SETPRIV_PATHS.find((path) => executableError(path) === null);
  if (setpriv === undefined) return command;
  return { program: setpriv, args: ['--no-new-privs', '--', command.program, ...command.args] };
}

/** Checks that a program is there, because setpriv would only say so in its exit code. @throws Error of the system, ENOENT or EACCES */
export function assertExecutable(program: string, path: string): void {
  const candidates = program.includes('/') ? [program] : path.split(delimiter).map((folder) => join(folder, program));
  let reason: NodeJS.ErrnoException | null = null;
  for (const candidate of candidates) {
    const error = executableError(candidate);
    if (error === null) return;
    if (reason === null || error.code === 'EACCES') reason = error;
  }
  if (reason !== null) throw reason;
}

function executableError(path: string): NodeJS.ErrnoException | null {
  try {
    accessSync(path, constants.X_OK);
    return null;
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
}
