import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../support/wait.ts';
import { maskedScreen } from './masked-screen.ts';
import type { Terminal } from './terminal.ts';

/** Arguments of the request that the chapter makes with triggerfs-client. */
export const REQUEST = ['-service', 'demoservice', '-plugin', 'command/command', '-timeout', '10s', '-command', 'uptime'];

/** Where the chapter's trigger file is, seen from the folder that it is mounted in. */
export const TRIGGER_FILE = 'mountpoint/newtrigger/demotrigger';

const PROMPT = String.raw`\(team1\) \S+\$ *\n*$`;

/** What the chapter does outside of the console, on the machine that it is replayed on. */
export interface Surroundings {
  /** Writes the worker's token into triggerfs.toml and starts the worker. */
  startWorker(token: string): Promise<void> | void;
  /** What triggerfs-client answers to `REQUEST`. */
  request(): Promise<string>;
  /** Mounts the trigger files, and writes `uptime` into `TRIGGER_FILE` once it is there. */
  trigger(): Promise<void>;
  /** How long the worker may take to come online, and the hit to be counted, in ms. */
  readonly patience: { readonly online: number; readonly hit: number };
}

/**
 * The Get Started chapter in the console of the team team1, from its worker to one hit, command for command. Ends in the console's
 * first prompt, before the last Ctrl-D.
 */
export async function replayChapter(terminal: Terminal, machine: Surroundings): Promise<void> {
  const lastRow = async (line: string): Promise<string> => {
    await terminal.run(line);
    return terminal.screen().trimEnd().split('\n').at(-2) ?? '';
  };
  const leave = async (said: string): Promise<void> => {
    terminal.press('C-d');
    await terminal.see(new RegExp(`${said}\\n${PROMPT}`));
  };

  await terminal.run('configure');
  await terminal.run('set workers identity demo01');
  await terminal.run('show workers');
  await terminal.run('set services name demoservice');
  await terminal.run('show services');
  await terminal.run('set services demoservice workers add demo01');
  await terminal.run('show services');
  await machine.startWorker(/^token = "(.+)"$/m.exec(terminal.screen())?.[1] ?? '');
  const online = async (): Promise<boolean> => /\| ONLINE +\|/.test(await lastRow('show workers | match ONLINE'));
  await until(online, { timeoutMs: machine.patience.online, what: 'the worker is online' });
  await terminal.run('show workers');
  await leave('\\^D');

  await terminal.run('file');
  await terminal.run('mkdir newtrigger');
  await leave('exit');
  await terminal.run('configure');
  await terminal.run('set trigger name /newtrigger/demotrigger');
  await terminal.run('set trigger demotrigger plugin command/command');
  await terminal.run('set trigger demotrigger service attach demoservice');
  await terminal.run('show triggers');
  await leave('\\^D');
  await terminal.run('file');
  await terminal.run('ls -l newtrigger/');
  await leave('exit');

  assert.equal(maskedScreen(await machine.request()), golden('client.txt'));
  await machine.trigger();
  await terminal.run('configure');
  const hit = async (): Promise<boolean> => Number((await lastRow('show triggers | match demotrigger')).split('|')[4]) === 1;
  await until(hit, { timeoutMs: machine.patience.hit, what: 'the hit' });
  await terminal.run('show triggers');
  await leave('\\^D');
}

/** What the terminal showed. Waiting shows in how often a line was asked for; what was asked for is the same. */
export function chapterScreen(terminal: Terminal): string {
  return maskedScreen(terminal.screen()).replaceAll(/^.*\| match .*\n(?: .*\n)?/gm, '');
}

/** What the console showed when the chapter was written down. */
export function golden(name: string): string {
  return readFileSync(join(import.meta.dirname, 'golden', name), 'utf8');
}
