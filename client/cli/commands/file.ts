import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { TriggerFsError } from '../../../protocol/errors.ts';
import { childEnvironment, type Environment, environment } from '../../../runtime/environment.ts';
import type { Call, Command } from '../command.ts';
import { EVERYWHERE } from '../command.ts';
import { PrivateMount } from '../private-mount.ts';
import { type Answer, text } from '../screen/answer.ts';

/** How long the end of a shell waits for answers, and how often it looks. */
const SETTLE_MS = 15_000;
const LOOK_MS = 100;
/** How long a shell that lost its console may take to end. */
const HANG_UP_MS = 2_000;

/** The shell in the team's file tree. */
export const FILE: readonly Command[] = [
  { pattern: 'file', doc: 'Start a shell in the file tree of the team', modes: EVERYWHERE, run: file },
];

/** Mounts the tree in a folder of its own, runs a shell there, and unmounts. */
async function file(call: Call): Promise<Answer | null> {
  const { screen, connection, signal } = call;
  if (!screen.interactive)
    throw new TriggerFsError('TFS_USAGE', 'file needs a terminal; scripts write to a mount of the program triggerfs');
  await connection.team();
  const env = environment();
  const mount = await PrivateMount.mount(connection.config.main, env.home, signal);
  let kept: string | null = null;
  try {
    if (mount.resumes) screen.out.write('Messages of an earlier shell, which had no answer, go out now.\n');
    screen.out.write('>> Starting a new interactive shell\n');
    await screen.lend(() => runShell(env, mount, signal));
    await settle(mount, call);
  } finally {
    kept = await mount.unmount();
  }
  return kept === null ? null : text([kept]);
}

/** What was written in the last moment is answered yet; who does not want to wait for it presses Ctrl-C. */
async function settle(mount: PrivateMount, { screen, signal }: Call): Promise<void> {
  if (mount.end !== null) {
    screen.out.write(`The files went away before the shell ended: the process that mounted them did (${mount.end}).\n`);
    return;
  }
  if (await mount.isSettled()) return;
  screen.out.write(`Waiting at most ${SETTLE_MS / 1000} s for answers to what was written; Ctrl-C ends the waiting.\n`);
  const end = performance.now() + SETTLE_MS;
  while (!signal.aborted && performance.now() < end && !(await mount.isSettled())) await sleep(LOOK_MS);
}

/** Runs the person's shell in the mount; its prompt shows where it is. The signal hangs it up, as the end of a terminal does. */
async function runShell(env: Environment, mount: PrivateMount, signal: AbortSignal): Promise<void> {
  const shell = env.shell ?? '/bin/sh';
  const args = shell.endsWith('/bash') ? ['--rcfile', mount.bashStart()] : [];
  const child = spawn(shell, args, { cwd: mount.folder, stdio: 'inherit', env: childEnvironment({ PS1: mount.prompt }) });
  if (child.pid !== undefined) mount.serves(child.pid);
  const hangUp = (): void => {
    child.kill('SIGHUP');
    setTimeout(() => child.kill('SIGKILL'), HANG_UP_MS).unref();
  };
  if (signal.aborted) hangUp();
  else signal.addEventListener('abort', hangUp, { once: true });
  await new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(new TriggerFsError('TFS_USAGE', `cannot start the shell ${shell}: ${cause.message}`, { cause })));
    child.once('exit', () => resolve());
  });
}
