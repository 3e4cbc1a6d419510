import { dirname, resolve } from 'node:path';
import { exitWith } from '../runtime/exit.ts';
import { libfuseEnvironment } from './libfuse.ts';
import { realPath, removeDead } from './mountpoint.ts';
import { clearMount } from './private/inheritance.ts';
import { Place } from './private/place.ts';
import { type Program, readProgram } from './program.ts';
import { Supervisor } from './supervisor.ts';

/** The program `triggerfs`: checks arguments and configuration, then supervises the process that mounts. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const program = readProgram(argv);
    if (typeof program === 'string') {
      process.stdout.write(program);
      return;
    }
    process.exitCode = program.private === null ? await runShared(program, argv) : await runPrivate(program, program.private, argv);
  } catch (error) {
    exitWith('triggerfs', error);
  }
}

async function runShared({ input, mountpoint, spool }: Program, argv: readonly string[]): Promise<number> {
  const supervisor = new Supervisor({ argv, input, variables: libfuseEnvironment(dirname(spool)) });
  const code = await supervisor.run();
  if (supervisor.wasReady) await removeDead(realPath(resolve(mountpoint)));
  return code;
}

/** What it leaves for others are messages without an answer, and nothing else. */
async function runPrivate({ config, input, mountpoint }: Program, root: string, argv: readonly string[]): Promise<number> {
  const place = Place.make(root, config.main, realPath(resolve(mountpoint)));
  try {
    const variables = libfuseEnvironment(place.folder);
    const code = await new Supervisor({ argv: [...argv, '-spool', place.spool], input, variables }).run();
    await clearMount(place);
    if (place.spools.length === 0) place.remove();
    return code;
  } finally {
    place.release();
  }
}
