import { choice, duration, flag, integer, type Key, optionalDuration, secret, size, text, texts } from './keys.ts';

/** Every key of triggerfs.toml; docs/configuration.md lists the same (tested). */
export const SECTIONS = {
  main: {
    api: text('Address of the control-plane.', 'http://127.0.0.1:8642'),
    team: text('Team to log in to.'),
    identity: text('Identity to log in with.'),
    secret: secret('Password of that identity.'),
    region: text('Only brokers of this region are used; empty means all.'),
    masterkey: text('File with the key to what is kept of requests; made when missing: back it up.', './.triggerfs/master.key'),
    log_format: choice('How long-running programs log: text lines or JSON objects.', ['text', 'json'], 'text'),
  },
  triggerfs: {
    mountpoint: text('Where the trigger files are mounted.', './mountpoint'),
    logfile: text('File that responses are appended to; empty for none.'),
    spool: text('Folder of the local spool; empty means a folder beside the configuration file.'),
    spool_limit: size('Size above which writes answer ENOSPC.', '1GB'),
    max_age: duration('Age after which an unsent message is dead-lettered.', '24h'),
    allow_other: flag('Other users of this machine may use the mount.', false),
    window: integer('Requests in flight per trigger file.', 256, 1, 10_000),
  },
  'triggerfs-client': {
    service: text('Service when -service is not given.'),
    plugin: text('Plugin when -plugin is not given.'),
    timeout: optionalDuration('Timeout when -timeout is not given, also of requests in the console.', "the service's"),
    cache: flag('Keep the login between calls, in a file only its owner can read.', true),
  },
  workers: {
    pluginspath: text('Folder of the plugins; empty means the plugins that come with triggerFS.'),
    plugins: texts('Plugins this machine runs, whoever asks.'),
    concurrency: integer('Runs at once.', 64, 1, 65_536),
    user: text('User that plugins run as; needs a worker started by root.'),
    environment: texts('Names of variables that plugins inherit beside PATH, HOME, LANG and TZ.'),
    grace: duration('How long running work may go on after SIGTERM.', '60s'),
    journal: text('Folder of the journals of resident schedules.', './.triggerfs/journal'),
    journal_limit: size('Output that a journal keeps until a broker takes it; then the oldest is dropped.', '256MB'),
  },
  'control-plane': {
    host: text('Address to listen on.', '127.0.0.1'),
    port: integer('Port of the HTTP API; 0 takes a free one.', 8642, 0, 65_535),
    database: secret('PostgreSQL address; DATABASE_URL when empty.'),
    metrics: flag('Serve /metrics.', true),
    proxies: text('Addresses or networks of reverse proxies, with commas between, whose X-Forwarded-For is believed.'),
    callbacks: text(
      'Hosts, with commas between, that results may be posted to wherever they are, as `host` or `host:port`; others must have public addresses.',
    ),
    signup: flag('Strangers may sign up; otherwise admins make accounts.', true),
  },
  mail: {
    host: text('SMTP server of the control-plane; when empty, mails such as activation codes go to its log.'),
    port: integer('Port of the SMTP server.', 587, 1, 65_535),
    secure: flag('TLS from the first byte, usual on port 465; otherwise STARTTLS, which a login needs.', false),
    user: text('Login at the SMTP server; empty for none.'),
    password: secret('Password of that login.'),
    from: text('Sender of mails.', 'triggerFS <triggerfs@localhost>'),
  },
  broker: {
    host: text('Address to listen on.', '127.0.0.1'),
    port: integer('Port for workers and clients; 0 takes a free one.', 5555, 0, 65_535),
    gateway_host: text('Address of the HTTP gateway.', '127.0.0.1'),
    gateway_port: integer('Port of the HTTP gateway; 0 takes a free one.', 8643, 0, 65_535),
    metrics: flag('Serve /metrics at the gateway.', true),
    proxies: text(
      'Addresses or networks of reverse proxies before the gateway, with commas between, whose X-Forwarded headers are believed.',
    ),
    advertise: text('Address that peers connect to, `tcp://host:port`; empty means host and port.'),
    region: text('Region of this broker.', 'default'),
    keyfile: text('File with this broker’s CURVE key pair and id; made when missing.', './.triggerfs/broker.key'),
    database: secret('PostgreSQL address; DATABASE_URL when empty.'),
    drain: duration('How long running work may go on after SIGTERM.', '20s'),
    settle: duration('How long after a start requests wait for workers that are still reconnecting.', '3s'),
  },
} as const;

type Sections = typeof SECTIONS;
type Value<K> = K extends Key<infer T> ? T : never;

/** Values of one section. */
export type Section<Name extends keyof Sections> = { readonly [K in keyof Sections[Name]]: Value<Sections[Name][K]> };

/** `[workers.TEAM.IDENTITY]`: the token of a worker. */
export interface WorkerCredentials {
  readonly token: string;
}

/** The whole configuration, validated and frozen. */
export type Config = { readonly [Name in keyof Sections]: Section<Name> } & {
  /** Absolute path of the file, or null when there was none. Relative paths in it count from its folder. */
  readonly file: string | null;
  /** Team, then identity. */
  readonly workerCredentials: ReadonlyMap<string, ReadonlyMap<string, WorkerCredentials>>;
};
