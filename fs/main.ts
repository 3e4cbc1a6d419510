import { dirname } from 'node:path';
import { exitWith } from '../runtime/exit.ts';
import { libfuseEnvironment } from './libfuse.ts';
import { readProgram, stateFolder } from './program.ts';
import { Supervisor } from './supervisor.ts';

/** The program `triggerfs`: checks arguments and configuration, then supervises the process that mounts. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const program = readProgram(argv);
    if (typeof program === 'string') {
      process.stdout.write(program);
      return;
    }
    process.exitCode = await new Supervisor(argv, libfuseEnvironment(dirname(stateFolder(program.config)))).run();
  } catch (error) {
    exitWith('triggerfs', error);
  }
}
