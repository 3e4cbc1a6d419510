import { existsSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { libfuseEnvironment } from '../../fs/libfuse.ts';
import { detach } from '../../fs/mountpoint.ts';
import { migrate } from '../../migrations/runner.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { logIn } from '../../runtime/credentials.ts';
import { Lifecycle } from '../../runtime/lifecycle.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { Content, type WorkerLogin } from '../stage/content.ts';
import { freePort } from '../stage/ports.ts';
import { writeToml } from '../stage/toml.ts';
import type { LedgerRow } from './ledger.ts';
import type { NemesisSettings } from './settings.ts';
import { DatabaseVictim, ProgramVictim, type Victim } from './victim.ts';

const SERVICE = 'nemesis';
const TEAM = 'nemesis';
const ALWAYS_SERVICE = 'nemesis-always';
const DIRECTORY = '/nemesis';
const TRIGGER = 'note';
const CONCURRENCY = 64;
/** Of a key and its newline, about. */
const LINE_BYTES = 7;
const PLUGINS = join(import.meta.dirname, '..', 'plugins');

/** A token for control-planes and one for gateways. */
export type Login = Pick<SessionResponse, 'apiToken' | 'edgeToken'>;

/** What is run: it appends the payload to a file, and answers a while later. */
export const PLUGIN = 'note';

/** A whole triggerFS in processes of its own, each of which may be killed. */
export class Ground {
  readonly folder: string;
  readonly databaseUrl: string;
  readonly masterKey: string;
  readonly service: string = SERVICE;
  readonly victims: readonly Victim[];
  readonly teamId: number;
  /** Arguments of the plugin. */
  readonly args: Readonly<Record<string, string>>;
  /** Path of the trigger file; null without a mount. */
  readonly trigger: string | null;
  readonly #content: Content;
  readonly #ports: readonly number[];
  readonly #gateways: readonly number[];
  readonly #lifecycle: Lifecycle;
  #turn = 0;

  private constructor(
    folder: string,
    databaseUrl: string,
    parts: {
      victims: readonly Victim[];
      teamId: number;
      content: Content;
      ports: readonly number[];
      gateways: readonly number[];
      lifecycle: Lifecycle;
      args: Readonly<Record<string, string>>;
      mounted: boolean;
    },
  ) {
    this.folder = folder;
    this.databaseUrl = databaseUrl;
    this.masterKey = masterKeyOf(folder);
    this.victims = parts.victims;
    this.teamId = parts.teamId;
    this.#content = parts.content;
    this.#ports = parts.ports;
    this.#gateways = parts.gateways;
    this.#lifecycle = parts.lifecycle;
    this.args = parts.args;
    this.trigger = parts.mounted ? join(mountOf(folder), DIRECTORY, TRIGGER) : null;
  }

  /** Starts everything; `stop` ends and removes it. */
  static async start(settings: NemesisSettings): Promise<Ground> {
    const lifecycle = new Lifecycle(silentLogger());
    const folder = mkdtempSync(join(tmpdir(), 'triggerfs-nemesis-'));
    stopAtSignals(lifecycle);
    lifecycle.add('folder', () => rm(folder, { recursive: true, force: true }));
    try {
      await chmod(folder, 0o755);
      const dataDir = join(folder, 'postgresql');
      const postgres = await EmbeddedPostgres.start({ dataDir, port: 0, log: silentLogger() });
      lifecycle.add('PostgreSQL', () => postgres.stop());
      const url = postgres.url;
      await migrate({ url });
      const content = await Content.create(url, TEAM);
      const names = Array.from({ length: settings.workers }, (_, n) => `nemesis${n + 1}`);
      const logins = await content.service(SERVICE, names);
      // For callers that cannot ask for retries: gateway and trigger files.
      await content.alsoServe(ALWAYS_SERVICE, names, 'always');
      const args = { path: outputOf(folder), ms: String(settings.answerMs) };
      await content.trigger(ALWAYS_SERVICE, { directory: DIRECTORY, name: TRIGGER, plugin: PLUGIN, args });
      await content.close();
      const ports = await Promise.all(Array.from({ length: settings.planes }, () => freePort()));
      const gateways = await Promise.all(Array.from({ length: settings.brokers }, () => freePort()));
      const programs = [...planes(folder, url, ports), ...brokers(folder, url, gateways), ...workers(folder, ports, logins)];
      if (settings.mount) {
        // What a killed mount left behind.
        lifecycle.add('mount', () => detach(mountOf(folder), true).catch(() => undefined));
        programs.push(mount(folder, ports, content));
      }
      for (const program of programs) {
        lifecycle.add(program.name, () => program.stop());
        program.start();
      }
      const pid = (): number => Number.parseInt(readFileSync(join(dataDir, 'data', 'postmaster.pid'), 'utf8'), 10);
      const victims = [...programs, new DatabaseVictim(postgres, pid)];
      return new Ground(folder, url, {
        victims,
        teamId: await teamOf(url),
        content,
        ports,
        gateways,
        lifecycle,
        args,
        mounted: settings.mount,
      });
    } catch (error) {
      await lifecycle.stop();
      throw error;
    }
  }

  /** File that the plugin appends to. */
  get output(): string {
    return outputOf(this.folder);
  }

  /** Address of one of the control-planes, in turn. */
  api(): string {
    this.#turn += 1;
    return `http://127.0.0.1:${this.#ports[this.#turn % this.#ports.length]}`;
  }

  /** Where one of the gateways, in turn, takes invocations of the service whose runs are begun again without being asked. */
  gateway(): string {
    this.#turn += 1;
    return `http://127.0.0.1:${this.#gateways[this.#turn % this.#gateways.length]}/v1/invoke/${TEAM}/${ALWAYS_SERVICE}`;
  }

  /** Tokens of the team's user. */
  logIn(): Promise<Login> {
    return logIn(this.api(), { kind: 'user', ...this.#content.account });
  }

  /** What the plugin has appended, line by line. */
  executed(): string[] {
    if (!existsSync(this.output)) return [];
    return readFileSync(this.output, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  }

  /** How many lines that are, about: from the size of the file. */
  executions(): number {
    return (statSync(this.output, { throwIfNoEntry: false })?.size ?? 0) / LINE_BYTES;
  }

  /** Items that have not ended. */
  async open(): Promise<number> {
    const rows = await this.#query<{ count: number }>(
      `select count(*)::integer as count from triggerfs.queue_items where state in ('queued', 'running')`,
    );
    return rows[0]?.count ?? 0;
  }

  /** All items with how often they were sent. */
  ledger(): Promise<LedgerRow[]> {
    return this.#query<LedgerRow>(
      `select i.idempotency_key as key, i.state, coalesce(sum(a.sends), 0)::integer as sends
       from triggerfs.queue_items i left join triggerfs.queue_attempts a on a.item_id = i.id group by i.id`,
    );
  }

  /** What the database knows of the items with these keys, a JSON object for each. */
  async stories(keys: readonly string[]): Promise<string[]> {
    const rows = await this.#query<{ story: string }>(
      `select jsonb_build_object('key', i.idempotency_key, 'id', i.id, 'state', i.state, 'error', i.error, 'attempts', (
         select jsonb_agg(to_jsonb(a) - 'item_id' - 'team_id' order by a.attempt) from triggerfs.queue_attempts a where a.item_id = i.id))::text as story
       from triggerfs.queue_items i where i.idempotency_key = any($1)`,
      [keys],
    );
    return rows.map(({ story }) => story);
  }

  async story(): Promise<unknown> {
    return this.#query(
      `select i.idempotency_key as key, i.state, to_jsonb(array(select to_jsonb(a) from triggerfs.queue_attempts a where a.item_id = i.id order by attempt)) as attempts from triggerfs.queue_items i where i.attempt > 1 or (select sum(sends) from triggerfs.queue_attempts a where a.item_id = i.id) > 1 or i.idempotency_key in (select unnest($1::text[]))`.replace(
        '$1',
        `'{${[
          ...new Set(
            this.executed().filter(
              (
                (seen) => (k: string) =>
                  seen.has(k) || !seen.add(k)
              )(new Set<string>()),
            ),
          ),
        ].join(',')}}'`,
      ),
    );
  }

  /** Ends and removes everything. */
  async stop(): Promise<void> {
    await this.#lifecycle.stop();
  }

  async #query<T extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: this.databaseUrl, connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query<T>(sql, values)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

/** Who is interrupted leaves nothing behind. */
function stopAtSignals(lifecycle: Lifecycle): void {
  const stop = (): void => void lifecycle.stop().finally(() => process.exit(1));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, stop);
    lifecycle.add(signal, () => void process.off(signal, stop));
  }
}

function masterKeyOf(folder: string): string {
  return join(folder, 'master.key');
}

function outputOf(folder: string): string {
  return join(folder, 'executed');
}

function mountOf(folder: string): string {
  return join(folder, 'mount');
}

function program(
  kind: string,
  name: string,
  part: string,
  args: readonly string[],
  folder: string,
  env: Record<string, string> = {},
): ProgramVictim {
  return new ProgramVictim(kind, name, [join(packageRoot(), part, 'bin.ts'), ...args], join(folder, `${name}.log`), env);
}

function planes(folder: string, url: string, ports: readonly number[]): ProgramVictim[] {
  return ports.map((port, n) => {
    const name = `control-plane${n + 1}`;
    const sections = { main: { masterkey: masterKeyOf(folder) }, 'control-plane': { database: url, port, metrics: false } };
    return program('control-plane', name, 'control-plane', ['-config', writeToml(join(folder, `${name}.toml`), sections), '-json'], folder);
  });
}

function brokers(folder: string, url: string, gateways: readonly number[]): ProgramVictim[] {
  return gateways.map((gateway, n) => {
    const name = `broker${n + 1}`;
    const keyfile = join(folder, `${name}.key`);
    const sections = { main: { masterkey: masterKeyOf(folder) }, broker: { database: url, port: 0, gateway_port: gateway, keyfile } };
    return program('broker', name, 'edge-broker', ['-config', writeToml(join(folder, `${name}.toml`), sections), '-json'], folder);
  });
}

function workers(folder: string, ports: readonly number[], logins: readonly WorkerLogin[]): ProgramVictim[] {
  return logins.map(({ identity, token }, n) => {
    const api = `http://127.0.0.1:${ports[n % ports.length]}`;
    const workers = { concurrency: CONCURRENCY, pluginspath: PLUGINS };
    const sections = { main: { api, team: TEAM }, workers, [`workers.${TEAM}.${identity}`]: { token } };
    const config = writeToml(join(folder, `${identity}.toml`), sections);
    return program('worker', identity, 'worker-agent', ['-config', config, '-identity', identity], folder);
  });
}

function mount(folder: string, [port]: readonly number[], content: Content): ProgramVictim {
  const { team, identity, secret } = content.account;
  const sections = {
    main: { api: `http://127.0.0.1:${port}`, team, identity, secret },
    triggerfs: { mountpoint: mountOf(folder), spool: join(folder, 'spool') },
  };
  const config = writeToml(join(folder, 'fs.toml'), sections);
  // The mounting process itself, as triggerfs-server runs it: a supervisor that is killed would leave it behind.
  const daemon = join(packageRoot(), 'fs', 'daemon.ts');
  return new ProgramVictim('fs', 'fs', [daemon, '-config', config, '-json'], join(folder, 'fs.log'), libfuseEnvironment(folder));
}

async function teamOf(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ id: number }>('select id from triggerfs.teams where name = $1', [TEAM]);
    return (rows[0] as { id: number }).id;
  } finally {
    await client.end();
  }
}
