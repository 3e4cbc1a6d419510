import { extname, join } from 'node:path';
import { libfuseEnvironment } from '../fs/libfuse.ts';
import { Part, type PartEvent } from './part.ts';
import { PartLog } from './part-log.ts';

/** What the parts have in common. */
export interface PartsOptions {
  readonly dataDir: string;
  readonly logFolder: string;
  readonly configFile: string;
  readonly databaseUrl: string;
  /** Takes lines for the terminal. */
  readonly warn: (line: string) => void;
  /** Takes the lines that the fs module prints: responses of trigger files. */
  readonly print: (line: string) => void;
}

/** The processes of an all-in-one server, in the order in which they are started. */
export interface Parts {
  readonly controlPlane: Part;
  readonly broker: Part;
  readonly worker: Part;
  readonly fs: Part;
}

/** Makes the parts without starting them. Only those that need the database learn its address, by their environment. */
export function createParts(options: PartsOptions): Parts {
  const { configFile, databaseUrl, dataDir, warn } = options;
  const log = (name: string): PartLog => new PartLog(name, join(options.logFolder, `${name}.log`), warn);
  const args = ['-config', configFile, '-json'];
  // The server has looked after the database already; what is wrong with it is to be told at once.
  const atOnce = ['-wait', '0s'];
  const withDatabase = { DATABASE_URL: databaseUrl };
  const withoutDatabase = { DATABASE_URL: '' };
  const print = ({ event, line }: PartEvent): void => {
    if (event === 'print' && typeof line === 'string') options.print(line);
  };
  // Without a mail server, activation codes are read here.
  const mail = ({ event, to, subject, text }: PartEvent): void => {
    if (event === 'mail') warn(`mail to ${to}: ${subject}\n${text}`);
  };
  return {
    controlPlane: new Part({
      name: 'control-plane',
      command: [program('control-plane', 'bin'), ...args, ...atOnce],
      variables: withDatabase,
      patienceMs: 2_000,
      log: log('control-plane'),
      event: mail,
      warn,
    }),
    broker: new Part({
      name: 'broker',
      command: [program('edge-broker', 'bin'), ...args, ...atOnce],
      variables: withDatabase,
      patienceMs: 3_000,
      log: log('broker'),
      warn,
    }),
    worker: new Part({
      name: 'worker',
      command: [program('worker-agent', 'bin'), ...args, '-team', 'demo', '-identity', 'demo01'],
      variables: withoutDatabase,
      hurryMs: 2_000,
      patienceMs: 3_500,
      log: log('worker'),
      warn,
    }),
    // The mounting process itself: its supervisor is for those who start it alone.
    fs: new Part({
      name: 'fs',
      command: [program('fs', 'daemon'), ...args],
      variables: { ...withoutDatabase, ...libfuseEnvironment(dataDir) },
      patienceMs: 3_000,
      log: log('fs'),
      event: print,
      warn,
    }),
  };
}

/** A program of ours, in the layout that this file runs from: sources or dist/. */
function program(folder: string, name: string): string {
  return join(import.meta.dirname, '..', folder, name + extname(import.meta.filename));
}
