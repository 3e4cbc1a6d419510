import { resolve } from 'node:path';
import { TriggerFsError } from '../protocol/errors.ts';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import type { Environment } from '../runtime/environment.ts';
import { VERSION } from '../runtime/version.ts';

const OPTIONS = {
  'data-dir': { kind: 'value', value: 'DIR', doc: 'Where everything is kept: database, configuration, logs. Default: ./.triggerfs' },
  mountpoint: { kind: 'value', value: 'DIR', doc: 'Where the trigger files are mounted, or none. Default: ./mountpoint' },
  'api-port': { kind: 'value', value: 'PORT', doc: 'Port of the HTTP API; 0 takes a free one. Default: as before, or 8642' },
  'broker-port': { kind: 'value', value: 'PORT', doc: 'Port for workers and clients; 0 takes a free one. Default: as before, or 5555' },
  'gateway-port': { kind: 'value', value: 'PORT', doc: 'Port of the HTTP gateway; 0 takes a free one. Default: as before, or 8643' },
  database: {
    kind: 'value',
    value: 'URL',
    doc: 'A PostgreSQL of your own. Better set DATABASE_URL: arguments are visible to all users of a machine',
  },
  json: { kind: 'flag', doc: 'Print one JSON object per line, the first when everything is ready' },
  version: { kind: 'flag', doc: 'Print the version' },
  help: { kind: 'flag', doc: 'Print this' },
} as const;

/** The port options of the program, by what listens there. */
export const PORT_OPTIONS = { api: 'api-port', broker: 'broker-port', gateway: 'gateway-port' } as const;

/** What listens on a port. */
export type PortName = keyof typeof PORT_OPTIONS;

/** What the program was asked for. */
export interface ServerOptions {
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute; null for no mount. */
  readonly mountpoint: string | null;
  /** Null where the option was not given; 0 for any free port. */
  readonly ports: Readonly<Record<PortName, number | null>>;
  /** Null for the embedded PostgreSQL. */
  readonly databaseUrl: string | null;
  readonly json: boolean;
}

/** Reads the arguments; a text is to be printed instead of running. @throws TriggerFsError TFS_USAGE naming the option */
export function readOptions(argv: readonly string[], env: Environment): ServerOptions | string {
  const { options, words } = parseArguments(OPTIONS, argv);
  if (words.length > 0) throw new TriggerFsError('TFS_USAGE', `unexpected word ${words[0]}`);
  if (options.help) return formatHelp('triggerfs-server [options]: all of triggerFS on one machine, with demo content', OPTIONS);
  if (options.version) return `triggerfs-server ${VERSION}\n`;
  const port = (name: PortName): number | null => portOf(PORT_OPTIONS[name], options[PORT_OPTIONS[name]]);
  return {
    dataDir: resolve(options['data-dir'] ?? '.triggerfs'),
    mountpoint: options.mountpoint === 'none' ? null : resolve(options.mountpoint ?? 'mountpoint'),
    ports: { api: port('api'), broker: port('broker'), gateway: port('gateway') },
    databaseUrl: options.database || env.databaseUrl || null,
    json: options.json,
  };
}

function portOf(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new TriggerFsError('TFS_USAGE', `--${option} takes a number from 0 to 65535, not ${text}`);
}
