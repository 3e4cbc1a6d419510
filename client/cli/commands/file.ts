import { spawn } from 'node:child_process';
import { TriggerFsError } from '../../../protocol/errors.ts';
import { childEnvironment, type Environment, environment } from '../../../runtime/environment.ts';
import type { Call, Command } from '../command.ts';
import { EVERYWHERE } from '../command.ts';
import { PrivateMount } from '../private-mount.ts';

/** The shell in the team's file tree. */
export const FILE: readonly Command[] = [
  { pattern: 'file', doc: 'Start a shell in the file tree of the team', modes: EVERYWHERE, run: file },
];

/** Mounts the tree in a folder of its own, runs a shell there, and unmounts. */
async function file(call: Call): Promise<null> {
  const { screen, connection, signal } = call;
  if (!screen.interactive)
    throw new TriggerFsError('TFS_USAGE', 'file needs a terminal; scripts write to a mount of the program triggerfs');
  await connection.team();
  const mount = await PrivateMount.mount(connection.config.main, signal);
  try {
    screen.out.write('>> Starting a new interactive shell\n');
    await screen.lend(() => runShell(environment(), mount));
  } finally {
    await mount.unmount();
  }
  return null;
}

/** Runs the person's shell in the mount; its prompt shows where it is. */
async function runShell(env: Environment, mount: PrivateMount): Promise<void> {
  const shell = env.shell ?? '/bin/sh';
  const args = shell.endsWith('/bash') ? ['--rcfile', mount.bashStart] : [];
  const child = spawn(shell, args, { cwd: mount.folder, stdio: 'inherit', env: childEnvironment({ PS1: mount.prompt }) });
  await new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(new TriggerFsError('TFS_USAGE', `cannot start the shell ${shell}: ${cause.message}`, { cause })));
    child.once('exit', () => resolve());
  });
}
