import { relative } from 'node:path';
import { VERSION } from '../runtime/version.ts';
import type { Addresses } from './server.ts';

/** What the start screen shows beside the addresses. */
export interface ScreenOptions {
  /** Folder that paths are shown relative to, when they are in it. */
  readonly cwd: string;
  readonly dataDir: string;
  /** Seconds that the start took. */
  readonly seconds: number;
  /** Whether `triggerfs-client` finds the configuration by itself. */
  readonly configIsFound: boolean;
  /** Whether the programs are those of a checkout, which npx finds; installed ones are on the search path. */
  readonly inCheckout: boolean;
}

/** The start screen: addresses, what to try next. */
export function startScreen(addresses: Addresses, options: ScreenOptions): string {
  const show = (path: string): string => shortest(path, options.cwd);
  const rows: [label: string, value: string][] = [
    ['API', `${addresses.api}   (description: ${addresses.api}/openapi.json)`],
    ['Gateway', addresses.gateway ?? 'none'],
    ['Broker', addresses.broker],
    ['Files', addresses.mountpoint === null ? `not mounted${reason(addresses)}` : show(addresses.mountpoint)],
    ['Database', databaseAddress(addresses.database)],
    ['Config', show(addresses.config)],
    ['Logs', show(`${options.dataDir}/logs`)],
  ];
  const table = rows.map(([label, value]) => `  ${label.padEnd(9)} ${value}`);
  const tries = examples(addresses, options, show).map((line) => `  ${line}`);
  return [
    `triggerFS ${VERSION} is ready after ${options.seconds.toFixed(1)} s.`,
    '',
    ...table,
    '',
    'Try in another terminal:',
    '',
    ...tries,
    '',
    'Answers of trigger files appear below. Ctrl-C stops everything; the data stays.',
    '',
    '',
  ].join('\n');
}

function examples(addresses: Addresses, options: ScreenOptions, show: (path: string) => string): string[] {
  const config = options.configIsFound ? '' : ` -config ${quote(show(addresses.config))}`;
  const lines = [`${options.inCheckout ? 'npx ' : ''}triggerfs-client${config} -service demo -plugin command/command -command uptime`];
  if (addresses.mountpoint === null) return lines;
  const command = quote(show(`${addresses.mountpoint}/demo/command`));
  return [...lines, `echo uptime > ${command}`, `cat ${command}`];
}

function reason({ mountProblem }: Addresses): string {
  return mountProblem === null ? '' : `: ${mountProblem.message}`;
}

/** Without the password, which has no place on a screen. */
function databaseAddress(url: string): string {
  const address = new URL(url);
  const password = address.password === '' ? '' : ':…';
  return `${address.protocol}//${address.username}${password}@${address.host}${address.pathname}`;
}

/** The shorter of the absolute path and the one from the current folder. */
function shortest(path: string, cwd: string): string {
  const fromHere = relative(cwd, path);
  return fromHere !== '' && !fromHere.startsWith('..') ? fromHere : path;
}

/** A path as a shell takes it. */
function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
