import { createWriteStream, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { TriggerFsError } from '../protocol/errors.ts';
import type { Config } from '../runtime/config/index.ts';
import { Credentials } from '../runtime/credentials.ts';
import { Lifecycle, type Stoppable } from '../runtime/lifecycle.ts';
import { type Logger, timestamp } from '../runtime/logging.ts';
import { ApiSession } from './api-session.ts';
import { stamped } from './banner.ts';
import { Connection } from './connection.ts';
import { LineSink } from './line-sink.ts';
import { FuseMount } from './mount.ts';
import { detach, prepareMountpoint } from './mountpoint.ts';
import { createOperations, ExtendedAttributes, Files, Metadata } from './operations/index.ts';
import { Inheritance } from './private/inheritance.ts';
import { ResponseRecorder } from './recorder.ts';
import { Responses } from './responses.ts';
import { Sender } from './sender.ts';
import { Spool } from './spool/spool.ts';
import { FileTree } from './tree.ts';
import { TreeEditor } from './tree-editor.ts';
import { TreeSync } from './tree-sync.ts';

/** Options of `startFs`. */
export interface FsOptions {
  readonly config: Config;
  readonly mountpoint: string;
  /** Null for none. */
  readonly logfile: string | null;
  /** Folder of the spool; a folder for the team is made in it. */
  readonly spoolFolder: string;
  /** Folder of all private mounts of this person, when this is one: its spool lies in a `Place` there. */
  readonly privateRoot: string | null;
  readonly log: Logger;
  /** Takes the lines for the terminal: what is documented for starting, and responses. */
  readonly print: (line: string) => void;
}

/** The running fs module. */
export interface RunningFs extends Stoppable {
  /** Real path of the mount. */
  readonly mountpoint: string;
  /** Messages that another private mount left and this one sends. */
  readonly inherited: number;
  /** There are messages that were not answered. */
  readonly unanswered: boolean;
}

/**
 * Starts the fs module in this process: logs in, opens the spool, mounts, connects. With the control-plane or the
 * brokers down it starts all the same, with the tree it knew last, and keeps what is written.
 * @throws TriggerFsError TFS_CONFIG, TFS_BAD_CREDENTIALS, TFS_MOUNT, TFS_CONFLICT (spool in use)
 */
export async function startFs(options: FsOptions): Promise<RunningFs> {
  const lifecycle = new Lifecycle(options.log);
  try {
    return await compose(options, lifecycle);
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

async function compose(options: FsOptions, lifecycle: Lifecycle): Promise<RunningFs> {
  const { config, log } = options;
  const print = openPrinter(options, lifecycle);
  print(stamped('=== triggerfs module started ==='));
  const mountpoint = await prepareMountpoint(options.mountpoint, keepOut(options), log);
  const credentials = createCredentials(config, log);
  lifecycle.add('credentials', () => credentials.stop());
  const api = new ApiSession(config.main.api, credentials);
  const online = await logIn(credentials, config, log, print);

  const tree = new FileTree();
  let sender: Sender | null = null;
  const folder = join(options.spoolFolder, config.main.team);
  const spool = Spool.open({
    folder,
    limitBytes: config.triggerfs.spool_limit,
    log,
    onAccepted: (trigger) => sender?.notify(trigger),
  });
  lifecycle.add('spool', () => closeSpool(spool, folder, options));
  const inherited = await inherit(spool, options, lifecycle);
  const sync = new TreeSync({ api, tree, store: spool, log, onReplaced: () => sender?.wake() });
  sync.start();
  lifecycle.add('tree', () => sync.stop());
  if (online) await sync.load().catch((err: unknown) => log.warn({ err }, 'cannot read the file tree; the last known one is shown'));

  const connection = new Connection({
    credentials,
    region: config.main.region,
    log,
    onConnected: (connected) => {
      log.debug(connected ? 'connected to a broker' : 'no broker is connected');
      if (connected) sync.changed();
      if (connected) sender?.wake();
    },
    onChanged: () => sync.changed(),
  });
  lifecycle.add('connection', () => connection.stop());
  const responses = new Responses(spool);
  const recorder = new ResponseRecorder(responses, print);
  const { window, max_age: maxAgeMs } = config.triggerfs;
  const sending = new Sender({ spool, tree, uplink: connection, recorder, window, maxAgeMs, log });
  sender = sending;
  lifecycle.add('sender', () => sending.stop());
  connection.start();
  sending.start();

  const operations = createOperations(
    new Metadata({ tree, editor: new TreeEditor(api, tree, () => sync.edited()), owner: ownUser(), usage: () => spool.usage }),
    new Files({ tree, intake: spool, responses, mayWrite: () => api.mayFire, connected: () => connection.connected }),
    new ExtendedAttributes(tree, responses),
  );
  const mount = await FuseMount.mount({ mountpoint, operations, allowOther: config.triggerfs.allow_other, unmount: detach, log });
  lifecycle.add('mount', () => mount.unmount());
  print(stamped('Started triggerfs.'));
  print(stamped(`Serving filesystem in ${options.mountpoint}`));
  if (options.logfile !== null) print(stamped(`Log file is ${options.logfile}`));
  print(stamped('Ready and running in foreground...'));
  return {
    mountpoint,
    inherited,
    get unanswered(): boolean {
      return spool.usage.usedBytes > 0;
    },
    stop: () => lifecycle.stop(),
  };
}

/** Paths that must not lie inside the mount, because this process uses them. */
function keepOut({ config, logfile, spoolFolder }: FsOptions): string[] {
  return [process.cwd(), spoolFolder, ...(logfile === null ? [] : [logfile]), ...(config.file === null ? [] : [config.file])];
}

/** Takes over what private mounts have left, now and later; returns how many messages there are now. */
async function inherit(spool: Spool, { config, privateRoot, spoolFolder, log }: FsOptions, lifecycle: Lifecycle): Promise<number> {
  if (privateRoot === null) return 0;
  const inheritance = new Inheritance({ root: privateRoot, owner: config.main, own: dirname(spoolFolder), spool, log });
  lifecycle.add('inheritance', () => inheritance.stop());
  const messages = await inheritance.look();
  inheritance.start();
  return messages;
}

/** A private mount leaves its spool to the next one only for what was not answered. */
function closeSpool(spool: Spool, folder: string, { privateRoot }: FsOptions): void {
  spool.close();
  if (privateRoot !== null && spool.usage.usedBytes === 0) rmSync(folder, { recursive: true, force: true });
}

/** Lines go to the terminal and to the logfile; neither ever makes a caller wait. */
function openPrinter({ logfile, log, print }: FsOptions, lifecycle: Lifecycle): (line: string) => void {
  if (logfile === null) return print;
  const stream = createWriteStream(resolve(logfile), { flags: 'a', mode: 0o600 });
  stream.on('error', (err) => log.error({ err }, `cannot write to the log file ${logfile}`));
  const sink = new LineSink(stream);
  lifecycle.add('log file', () => {
    sink.flush();
    return new Promise<void>((done) => stream.close(() => done()));
  });
  return (line) => {
    print(line);
    sink.add(line);
  };
}

function createCredentials(config: Config, log: Logger): Credentials {
  const { api, team, identity, secret } = config.main;
  for (const [key, value] of Object.entries({ team, identity, secret })) {
    if (value === '') throw new TriggerFsError('TFS_CONFIG', `${config.file ?? 'the configuration'}: main.${key} is missing`);
  }
  return new Credentials({ api, log, method: { kind: 'user', team, identity, secret } });
}

/** Logs in; false when the control-plane cannot be reached now. @throws TriggerFsError when it refuses */
async function logIn(credentials: Credentials, config: Config, log: Logger, print: (line: string) => void): Promise<boolean> {
  print(stamped('No JWT provided. Authenticating with login credentials in config.'));
  try {
    const session = await credentials.current();
    const end = timestamp(new Date(session.expiresAt * 1000)).slice(11);
    print(stamped(`Successful login as ${session.identity} in team ${session.team}. The JWT is good until ${end} and renewed before.`));
    return true;
  } catch (thrown) {
    const error = TriggerFsError.from(thrown);
    if (!error.definition.retryable) throw error;
    log.warn({ err: error }, `cannot log in at ${config.main.api} now, trying again; writes are kept in the spool`);
    return false;
  }
}

function ownUser(): { uid: number; gid: number } {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}
