import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Acceptor } from '../../runtime/acceptance/acceptor.ts';
import { MasterKey, TeamKeys } from '../../runtime/sealing/index.ts';
import { type Ground, type Login, PLUGIN } from './ground.ts';
import { MountDoor } from './mount-door.ts';
import type { Pace } from './pace.ts';

const RETRY_MS = 200;
/** Callers at the acceptor, at SQL, at the API, at the gateway and at the mount. */
const CALLERS = { acceptor: 24, sql: 2, http: 2, gateway: 2, mount: 2 } as const;
const RETRIES = 1000;
const BACKOFF_MS = 200;

/** A door that takes an item; resolves with the key under which it is accepted. */
type Door = (key: string) => Promise<string>;

/**
 * Accepts items through all doors (most by the acceptor that API and gateway share, the others by SQL, the API, the gateway and a
 * trigger file), spread evenly over the kills. Each is asked for under its own idempotency key until it is accepted; see MountDoor for files.
 */
export class Producer {
  /** What the queue has accepted, and what the mount has. */
  readonly queued = new Set<string>();
  readonly written = new Set<string>();
  readonly #ground: Ground;
  readonly #pool: pg.Pool;
  readonly #mount: MountDoor | null;
  #acceptor: Acceptor | null = null;
  #login: Login | null = null;
  #next = 0;

  constructor(ground: Ground) {
    this.#ground = ground;
    this.#mount = ground.trigger === null ? null : new MountDoor(ground.trigger);
    this.#pool = new pg.Pool({ connectionString: ground.databaseUrl, max: 6, connectionTimeoutMillis: 2_000 });
    this.#pool.on('error', () => undefined).on('connect', (client) => void client.on('error', () => undefined));
  }

  /** Keys of which nobody knows whether they were accepted. */
  get uncertain(): ReadonlySet<string> {
    return this.#mount?.tried ?? new Set();
  }

  /** Accepts one item at the queue and one at the mount. */
  async warmUp(): Promise<void> {
    const master = await MasterKey.load(this.#ground.masterKey, this.#pool);
    this.#acceptor = new Acceptor({ pool: this.#pool, keys: new TeamKeys(this.#pool, master) });
    this.queued.add(await this.#byAcceptor('first'));
    if (this.#mount !== null) this.written.add(await this.#accept((key) => (this.#mount as MountDoor).write(key), 'first'));
  }

  /** Accepts `items`, as fast as the pace lets them. `warmUp` comes first. */
  async run(items: number, pace: Pace): Promise<void> {
    const mount = this.#mount;
    const queue: Door[] = [
      ...Array.from({ length: CALLERS.acceptor }, () => (key: string) => this.#byAcceptor(key)),
      ...Array.from({ length: CALLERS.sql }, () => (key: string) => this.#bySql(key)),
      ...Array.from({ length: CALLERS.http }, () => (key: string) => this.#byHttp(key)),
      ...Array.from({ length: CALLERS.gateway }, () => (key: string) => this.#byGateway(key)),
    ];
    const files: Door[] = mount === null ? [] : Array.from({ length: CALLERS.mount }, () => (key: string) => mount.write(key));
    const call = async (door: Door, into: Set<string>): Promise<void> => {
      while (this.#next < items) {
        const n = this.#next;
        this.#next += 1;
        await pace.reach(n / items);
        into.add(await this.#accept(door, `n${n}`));
      }
    };
    await Promise.all([...queue.map((door) => call(door, this.queued)), ...files.map((door) => call(door, this.written))]);
  }

  /** Closes its connections. */
  async stop(): Promise<void> {
    await this.#pool.end();
  }

  /** Whether it was accepted is not known after an error: once more. */
  async #accept(door: Door, key: string): Promise<string> {
    for (;;) {
      try {
        return await door(key);
      } catch {
        await sleep(RETRY_MS);
      }
    }
  }

  async #byAcceptor(key: string): Promise<string> {
    const { teamId, service, args } = this.#ground;
    await (this.#acceptor as Acceptor).accept({
      team: teamId,
      source: 'api',
      caller: 'nemesis',
      service,
      plugin: PLUGIN,
      args,
      payload: Buffer.from(key),
      retries: RETRIES,
      backoffMs: BACKOFF_MS,
      idempotencyKey: key,
    });
    return key;
  }

  async #bySql(key: string): Promise<string> {
    const { teamId, service, args } = this.#ground;
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      await client.query(`begin; select set_config('app.team', '${teamId}', true)`);
      const options = { retries: RETRIES, backoff: `${BACKOFF_MS}ms`, idempotency_key: key };
      await client.query('select triggerfs.invoke($1, $2, $3::bytea, $4, $5)', [service, PLUGIN, Buffer.from(key), args, options]);
      await client.query('commit');
      return key;
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }

  #byHttp(key: string): Promise<string> {
    const { service, args } = this.#ground;
    const body = { service, plugin: PLUGIN, args, payload: key, retries: RETRIES, backoff: `${BACKOFF_MS}ms` };
    return this.#post(new URL('/v1/invocations', this.#ground.api()), 'apiToken', key, body);
  }

  #byGateway(key: string): Promise<string> {
    return this.#post(new URL(this.#ground.gateway()), 'edgeToken', key, { plugin: PLUGIN, args: this.#ground.args, payload: key });
  }

  async #post(address: URL, token: keyof Login, key: string, body: unknown): Promise<string> {
    this.#login ??= await this.#ground.logIn();
    const response = await fetch(address, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#login[token]}`,
        'content-type': 'application/json',
        'idempotency-key': key,
        prefer: 'respond-async',
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    await response.arrayBuffer();
    if (response.status === 401) this.#login = null;
    if (response.status !== 202 && response.status !== 200) throw new Error(`HTTP ${response.status}`);
    return key;
  }
}
