import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { environment } from '../../../runtime/environment.ts';
import { packageRoot } from '../../../runtime/package-root.ts';
import { codeCache } from '../../support/code-cache.ts';

/** The program's own folder for histories and logins, for all tests of a file. */
const HOME = mkdtempSync(join(tmpdir(), 'triggerfs-cli-home-'));
after(() => rmSync(HOME, { recursive: true, force: true }));

/** How `triggerfs-cli` ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Command line of the program. */
export function cliCommand(config: string, args: readonly string[]): string[] {
  return [process.execPath, join(packageRoot(), 'client', 'cli', 'bin.ts'), '-config', config, ...args];
}

/** Environment of the program: nothing of the person who runs the tests. */
export function cliEnvironment(): Record<string, string> {
  return { HOME, PATH: environment().path, TERM: 'xterm', LANG: 'C.UTF-8', ...codeCache() };
}

/** Runs commands given with -e. */
export function commands(config: string, lines: readonly string[], args: readonly string[] = []): Promise<Ended> {
  return runCli(config, [...args, ...lines.flatMap((line) => ['-e', line])], '');
}

/** Runs the program to its end, with a text on standard input. */
export function runCli(config: string, args: readonly string[], input: string): Promise<Ended> {
  const [program = '', ...rest] = cliCommand(config, args);
  const child = spawn(program, rest, { cwd: HOME, env: cliEnvironment() });
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text;
    });
  }
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...printed })));
}
