import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pg from 'pg';
import type { Client } from '../../client/index.ts';
import type { Broker } from '../../edge-broker/broker.ts';
import { outputAad, payloadAad, readBlock } from '../../protocol/history-block.ts';
import { MasterKey, open, TeamKeys } from '../../runtime/sealing/index.ts';
import type { DatabaseProxy } from '../support/database-proxy.ts';
import { FakeWorker, type FakeWorkerOptions } from '../support/fake-worker.ts';
import { masterKeyFile } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { type Person, type ServiceSettings, World } from '../support/world.ts';

/** A row of `triggerfs.invocations`, as tests look at it. */
export interface InvocationRow {
  readonly id: string;
  readonly team_id: number;
  readonly broker_id: string;
  readonly service: string;
  readonly plugin: string;
  readonly algorithm: string;
  readonly source: string;
  readonly caller: string;
  readonly trigger_id: number | null;
  readonly schedule_id: number | null;
  readonly item_id: string | null;
  readonly args: object;
  readonly payload: Buffer | null;
  readonly payload_bytes: number;
  readonly timeout_ms: number;
  readonly expected: number;
  readonly accepted_at: Date;
  readonly ended_at: Date | null;
  readonly verdict: string | null;
  readonly exit_code: number | null;
  readonly error: string | null;
  readonly detail: string | null;
  readonly output_bytes: string;
}

/** A piece of stored output, opened. */
export interface Piece {
  readonly worker: number;
  readonly attempt: number;
  readonly block: number;
  readonly stream: string;
  readonly data: Buffer;
  readonly gap: boolean;
}

/** One team, one broker, a client, a service `svc` with workers, and the means to read the history. */
export class HistoryStage {
  readonly world: World;
  readonly owner: Person;
  readonly people: readonly Person[];
  readonly broker: Broker;
  readonly workers: readonly FakeWorker[];
  readonly client: Client;
  readonly #keys: TeamKeys;

  private constructor(
    world: World,
    owner: Person,
    parts: { people: readonly Person[]; broker: Broker; workers: readonly FakeWorker[]; client: Client },
    keys: TeamKeys,
  ) {
    this.world = world;
    this.owner = owner;
    this.people = parts.people;
    this.broker = parts.broker;
    this.workers = parts.workers;
    this.client = parts.client;
    this.#keys = keys;
  }

  /** Starts everything; it ends with the test. */
  static async start(
    t: TestContext,
    options: {
      readonly workers?: number;
      readonly service?: ServiceSettings;
      readonly worker?: FakeWorkerOptions;
      readonly history?: 'off' | 'meta' | 'output';
      /** The broker reaches the database through this, so that a test can cut it. */
      readonly proxy?: (url: string) => Promise<DatabaseProxy>;
      readonly limitBytes?: number;
    } = {},
  ): Promise<HistoryStage> {
    const world = await World.create(t);
    const owner = await world.addTeam('alpha');
    const people: Person[] = [];
    for (let i = 1; i <= (options.workers ?? 1); i += 1) people.push(await world.addWorker(owner, `worker${i}`));
    const service = await world.addService(owner, 'svc', { ...options.service, workers: people });
    await world.sql.query('update triggerfs.services set history = $2 where id = $1', [service, options.history ?? 'output']);
    const proxy = await options.proxy?.(world.url);
    const broker = await world.broker('broker', {
      ...(proxy === undefined ? {} : { databaseUrl: proxy.url }),
      ...(options.limitBytes === undefined ? {} : { historyLimitBytes: options.limitBytes }),
    });
    const workers: FakeWorker[] = [];
    for (const person of people) workers.push(await FakeWorker.connect(t, world, person, [broker], options.worker));
    const client = await world.client(owner, [broker]);
    const keys = new TeamKeys(world.sql, await MasterKey.load(masterKeyFile(), world.sql));
    return new HistoryStage(world, owner, { people, broker, workers, client }, keys);
  }

  /** All invocations, oldest first. */
  async invocations(): Promise<InvocationRow[]> {
    return (await this.world.sql.query<InvocationRow>('select * from triggerfs.invocations order by accepted_at, id')).rows;
  }

  /** Waits until an invocation is stored with its verdict, and returns its row. */
  async stored(id: string, timeoutMs = 10_000): Promise<InvocationRow> {
    return until(async () => (await this.invocations()).find((row) => row.id === id && row.verdict !== null), {
      timeoutMs,
      what: `the verdict of ${id} is stored`,
    });
  }

  /** All runs, in the order of workers and attempts. */
  async runs(): Promise<Record<string, unknown>[]> {
    return (await this.world.sql.query('select * from triggerfs.runs order by invocation_id, worker_id, attempt')).rows;
  }

  /** The stored payload of an invocation. */
  async payload(row: InvocationRow): Promise<Buffer | null> {
    return row.payload === null ? null : open(this.#keys, row.team_id, payloadAad(row.team_id, row.id), row.payload);
  }

  /** The stored output of an invocation, in order. */
  async output(id: string): Promise<Piece[]> {
    const { rows } = await this.world.sql.query<{
      team_id: number;
      worker_id: number;
      attempt: number;
      block: number;
      bytes: number;
      data: Buffer;
      gap: boolean;
    }>('select * from triggerfs.outputs where invocation_id = $1 order by worker_id, attempt, block', [id]);
    const pieces: Piece[] = [];
    for (const { team_id, worker_id: worker, attempt, block, bytes, data, gap } of rows) {
      const plain = await open(this.#keys, team_id, outputAad(team_id, id, worker, attempt, block), data);
      const frames = [...readBlock(plain)];
      const sum = frames.reduce((total, frame) => total + frame.data.length, 0);
      if (sum !== bytes) throw new Error(`block ${block} holds ${sum} bytes and says ${bytes}`);
      for (const [index, { stream, data: piece }] of frames.entries()) {
        pieces.push({ worker, attempt, block, stream, data: piece, gap: gap && index === 0 });
      }
    }
    return pieces;
  }

  /** Calls the service and waits for the end; returns the id. */
  async call(payload: Buffer | string = 'hello', plugin = 'echo'): Promise<string> {
    const invocation = this.client.invoke({ service: 'svc', plugin, payload });
    for await (const _ of invocation);
    await invocation.outcome;
    return (await invocation.manifest)?.invocation ?? '';
  }

  /** Everything that is in the tables of a database, as text: rows as PostgreSQL writes them. */
  async dump(): Promise<string> {
    const { rows } = await this.world.sql.query<{ name: string }>(
      `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'r' and n.nspname in ('triggerfs', 'graphile_worker', 'pgboss', 'public')`,
    );
    const parts: string[] = [];
    for (const { name } of rows) {
      const { rows: texts } = await this.world.sql.query<{ text: string }>(`select t::text as text from ${name} t`);
      parts.push(...texts.map(({ text }) => text));
    }
    return parts.join('\n');
  }

  /** A second session with the database, for locks. */
  async connect(t: TestContext): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.world.url });
    client.on('error', () => undefined);
    await client.connect();
    t.after(() => client.end());
    return client;
  }

  /** Path below the stage's folder. */
  path(name: string): string {
    return join(this.world.folder, name);
  }
}
