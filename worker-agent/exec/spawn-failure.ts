import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import type { Plugin } from '../catalogue/plugin.ts';

const FIRST_LINE_BYTES = 256;

/** Says why a program could not be started, so that its author knows what to mend. */
export function describeSpawnFailure(plugin: Plugin, error: NodeJS.ErrnoException): string {
  const { program } = plugin;
  const name = `plugin ${plugin.name}`;
  if (error.code === 'ENOENT') return `${name}: ${missing(program)}`;
  if (error.code === 'EACCES') return `${name}: ${program} may not be executed (chmod +x?)`;
  if (error.code === 'ENOEXEC') return `${name}: ${program} is no program: a script needs a first line such as #!/bin/sh`;
  if (error.code === 'E2BIG') return `${name}: the arguments are too long for the system`;
  return `${name}: cannot start ${program}: ${error.message}`;
}

function missing(program: string): string {
  if (!program.includes('/')) return `there is no program ${program} in the PATH`;
  if (!existsSync(program)) return `${program} does not exist`;
  const interpreter = firstLine(program).match(/^#!\s*(\S+)/)?.[1];
  return interpreter === undefined ? `the loader of ${program} is missing` : `the interpreter ${interpreter} of ${program} does not exist`;
}

function firstLine(path: string): string {
  const start = Buffer.alloc(FIRST_LINE_BYTES);
  let fd = -1;
  try {
    fd = openSync(path, 'r');
    return start.toString('latin1', 0, readSync(fd, start)).split('\n', 1)[0] ?? '';
  } catch {
    return '';
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
