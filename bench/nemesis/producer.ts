import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Acceptor } from '../../runtime/acceptance/acceptor.ts';
import { MasterKey, TeamKeys } from '../../runtime/sealing/index.ts';
import type { Ground } from './ground.ts';

const RETRY_MS = 200;
/** Callers at the acceptor, at SQL and at HTTP. */
const CALLERS = { acceptor: 24, sql: 2, http: 2 } as const;
const RETRIES = 1000;
const BACKOFF_MS = 200;

/** A door that takes an item under an idempotency key; resolves when it is accepted. */
type Door = (key: string) => Promise<unknown>;

/**
 * Accepts items through all doors (most by the acceptor that API and gateway share, the others by SQL and by HTTP), spread evenly
 * over a time. Each is asked for under its own idempotency key until it is accepted.
 */
export class Producer {
  readonly accepted = new Set<string>();
  readonly #ground: Ground;
  readonly #pool: pg.Pool;
  #acceptor: Acceptor | null = null;
  #token: string | null = null;
  #next = 0;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#pool = new pg.Pool({ connectionString: ground.databaseUrl, max: 6, connectionTimeoutMillis: 2_000 });
    this.#pool.on('error', () => undefined).on('connect', (client) => void client.on('error', () => undefined));
  }

  /** Accepts one item under a key of its own. */
  async warmUp(): Promise<void> {
    const master = await MasterKey.load(this.#ground.masterKey, this.#pool);
    this.#acceptor = new Acceptor({ pool: this.#pool, keys: new TeamKeys(this.#pool, master) });
    await this.#byAcceptor('first');
    this.accepted.add('first');
  }

  /** Accepts `items`, the last one about `overMs` from now. `warmUp` comes first. */
  async run(items: number, overMs: number): Promise<void> {
    const started = performance.now();
    const doors: Door[] = [
      ...Array.from({ length: CALLERS.acceptor }, () => (key: string) => this.#byAcceptor(key)),
      ...Array.from({ length: CALLERS.sql }, () => (key: string) => this.#bySql(key)),
      ...Array.from({ length: CALLERS.http }, () => (key: string) => this.#byHttp(key)),
    ];
    await Promise.all(doors.map((door) => this.#call(door, items, (n) => started + (n / items) * overMs)));
  }

  /** Closes its connections. */
  async stop(): Promise<void> {
    await this.#pool.end();
  }

  async #call(door: Door, items: number, dueAt: (n: number) => number): Promise<void> {
    while (this.#next < items) {
      const n = this.#next;
      this.#next += 1;
      await sleep(Math.max(0, dueAt(n) - performance.now()));
      const key = `n${n}`;
      while (!this.accepted.has(key)) {
        try {
          await door(key);
          this.accepted.add(key);
        } catch {
          // Whether it was accepted is not known: the same key again.
          await sleep(RETRY_MS);
        }
      }
    }
  }

  #byAcceptor(key: string): Promise<unknown> {
    const { teamId, service, args } = this.#ground;
    return (this.#acceptor as Acceptor).accept({
      team: teamId,
      source: 'api',
      caller: 'nemesis',
      service,
      plugin: 'file/append',
      args,
      payload: Buffer.from(`${key}\n`),
      retries: RETRIES,
      backoffMs: BACKOFF_MS,
      idempotencyKey: key,
    });
  }

  async #bySql(key: string): Promise<void> {
    const { teamId, service, args } = this.#ground;
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      await client.query(`begin; select set_config('app.team', '${teamId}', true)`);
      const options = { retries: RETRIES, backoff: `${BACKOFF_MS}ms`, idempotency_key: key };
      await client.query(`select triggerfs.invoke($1, 'file/append', $2::bytea, $3, $4)`, [
        service,
        Buffer.from(`${key}\n`),
        args,
        options,
      ]);
      await client.query('commit');
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async #byHttp(key: string): Promise<void> {
    const { service, args } = this.#ground;
    this.#token ??= await this.#ground.logIn();
    const response = await fetch(new URL('/v1/invocations', this.#ground.api()), {
      method: 'POST',
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ service, plugin: 'file/append', args, payload: `${key}\n`, retries: RETRIES, backoff: `${BACKOFF_MS}ms` }),
      signal: AbortSignal.timeout(10_000),
    });
    await response.arrayBuffer();
    if (response.status === 401) this.#token = null;
    if (response.status !== 202 && response.status !== 200) throw new Error(`HTTP ${response.status}`);
  }
}
