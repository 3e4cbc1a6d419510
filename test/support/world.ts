import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { curveKeyPair } from 'zeromq';
import { Client } from '../../client/index.ts';
import { type Broker, startBroker } from '../../edge-broker/broker.ts';
import type { BrokerAddress } from '../../protocol/control.ts';
import type { HttpSettings } from '../../protocol/http/gateway.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { Credentials } from '../../runtime/credentials.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { type Audience, TokenSigner } from '../../runtime/tokens.ts';
import { masterKeySection } from './master-key.ts';
import { createDatabase } from './postgres.ts';

type Role = 'owner' | 'admin' | 'member' | 'viewer';

/** A user or worker of the world. */
export interface Person {
  readonly id: number;
  readonly teamId: number;
  readonly team: string;
  readonly identity: string;
  readonly role: Role | 'worker';
}

/** Columns of a service that tests set. */
export interface ServiceSettings {
  readonly algorithm?: 'roundrobin' | 'serial' | 'mirror';
  readonly timeoutMs?: number;
  readonly window?: string;
  readonly maxErrors?: string;
  readonly failover?: 'unstarted' | 'always';
  readonly queueLimit?: number;
  readonly visibility?: 'local' | 'team' | 'public';
  readonly plugins?: readonly string[];
  readonly workers?: readonly Person[];
  readonly owner?: Person;
  /** What differs from the defaults of HTTP settings. */
  readonly http?: Partial<HttpSettings>;
}

/**
 * A migrated database with keys, and short ways to fill it and to start brokers and clients on it:
 * what tests of the brokers need of a control-plane, without its HTTP.
 */
export class World {
  readonly url: string;
  readonly sql: pg.Client;
  readonly channelKey = curveKeyPair();
  readonly folder: string;
  readonly #t: TestContext;
  readonly #signer: TokenSigner;

  private constructor(t: TestContext, url: string, sql: pg.Client, signer: TokenSigner) {
    this.#t = t;
    this.url = url;
    this.sql = sql;
    this.#signer = signer;
    this.folder = mkdtempSync(join(tmpdir(), 'triggerfs-world-'));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  /** Makes a world that ends with the test. */
  static async create(t: TestContext): Promise<World> {
    const url = await createDatabase(t);
    const sql = new pg.Client({ connectionString: url });
    sql.on('error', () => undefined);
    await sql.connect();
    t.after(() => sql.end());
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const kid = randomUUID();
    const signer = new TokenSigner(kid, privateKey.export({ format: 'pem', type: 'pkcs8' }).toString());
    const world = new World(t, url, sql, signer);
    await sql.query("insert into triggerfs.signing_keys (kid, public_key, retires_at) values ($1, $2, now() + interval '1 day')", [
      kid,
      publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    ]);
    await sql.query("insert into triggerfs.channel_keys (public_key, expires_at) values ($1, now() + interval '1 day')", [
      world.channelKey.publicKey,
    ]);
    return world;
  }

  /** Adds a team and a user of it. */
  async addTeam(team: string, identity = `${team}-owner`, role: Role = 'owner'): Promise<Person> {
    const { rows } = await this.sql.query<{ id: number }>('insert into triggerfs.teams (name) values ($1) returning id', [team]);
    return this.addUser((rows[0] as { id: number }).id, team, identity, role);
  }

  /** Adds a user to a team. */
  async addUser(teamId: number, team: string, identity: string, role: Role): Promise<Person> {
    const { rows } = await this.sql.query<{ id: number }>(
      `with u as (insert into triggerfs.users (identity, secret_hash) values ($2, 'x') returning id)
       insert into triggerfs.memberships (team_id, user_id, role) select $1, id, $3 from u returning user_id as id`,
      [teamId, identity, role],
    );
    return { id: (rows[0] as { id: number }).id, teamId, team, identity, role };
  }

  /** Adds a worker to the team of a user. */
  async addWorker(owner: Person, identity: string): Promise<Person> {
    const { rows } = await this.sql.query<{ id: number }>(
      'insert into triggerfs.workers (team_id, identity, token_hash) values ($1, $2, $3) returning id',
      [owner.teamId, identity, randomBytes(32)],
    );
    return { id: (rows[0] as { id: number }).id, teamId: owner.teamId, team: owner.team, identity, role: 'worker' };
  }

  /** Adds a service with its members and returns its id. */
  async addService(owner: Person, name: string, settings: ServiceSettings = {}): Promise<number> {
    const { rows } = await this.sql.query<{ id: number }>(
      `insert into triggerfs.services (team_id, name, algorithm, timeout_ms, "window", max_errors, failover, queue_limit, visibility, plugins, owner_id, http)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning id`,
      [
        owner.teamId,
        name,
        settings.algorithm ?? 'roundrobin',
        settings.timeoutMs ?? LIMITS.defaultTimeoutMs,
        settings.window ?? '1',
        settings.maxErrors ?? '1',
        settings.failover ?? 'unstarted',
        settings.queueLimit ?? 1000,
        settings.visibility ?? 'team',
        settings.plugins ?? null,
        settings.owner?.id ?? null,
        JSON.stringify(settings.http ?? {}),
      ],
    );
    const { id } = rows[0] as { id: number };
    for (const worker of settings.workers ?? []) await this.attach(owner, id, worker);
    return id;
  }

  /** Attaches a worker to a service. */
  async attach(owner: Person, service: number, worker: Person): Promise<void> {
    await this.sql.query('insert into triggerfs.service_members (team_id, service_id, worker_id) values ($1, $2, $3)', [
      owner.teamId,
      service,
      worker.id,
    ]);
  }

  /** A token as a login would give it. */
  token(
    person: Person,
    options: { audience?: Audience; lifeSeconds?: number; epoch?: number; session?: string; scopes?: ('invoke' | 'read' | 'write')[] } = {},
  ): string {
    const now = Math.floor(Date.now() / 1000);
    return this.#signer.sign(
      {
        kind: person.role === 'worker' ? 'worker' : options.scopes === undefined ? 'user' : 'token',
        sub: String(person.id),
        team: person.teamId,
        teamName: person.team,
        identity: person.identity,
        role: person.role,
        epoch: options.epoch ?? 1,
        sid: options.session ?? randomUUID(),
        ...(options.scopes === undefined ? {} : { scopes: options.scopes }),
        auth: now,
        exp: now + (options.lifeSeconds ?? 3600),
      },
      options.audience ?? 'triggerfs-edge',
    );
  }

  /** A login that needs no control-plane. */
  credentials(person: Person, brokers: readonly BrokerAddress[]): Credentials {
    const edgeToken = this.token(person);
    const session: SessionResponse = {
      apiToken: this.token(person, { audience: 'triggerfs-api' }),
      edgeToken,
      expiresAt: Math.floor(Date.now() / 1000) + 3600,
      team: person.team,
      identity: person.identity,
      role: person.role,
      channelKey: this.channelKey,
      brokers: [...brokers],
    };
    const credentials = new Credentials({ api: 'http://127.0.0.1:9', method: null, session, log: silentLogger() });
    this.#t.after(() => credentials.stop());
    return credentials;
  }

  /** Starts a broker in this process; `name` keeps its key over restarts. */
  async broker(
    name = 'broker',
    options: { port?: number; settings?: string; databaseUrl?: string; historyLimitBytes?: number } = {},
  ): Promise<Broker> {
    const toml = `${masterKeySection()}[broker]\nport = ${options.port ?? 0}\ngateway_port = 0\nkeyfile = "${join(this.folder, `${name}.key`)}"\ndrain = "1s"\nsettle = "1ms"\n${options.settings ?? ''}`;
    const { databaseUrl = this.url, historyLimitBytes } = options;
    const limits = historyLimitBytes === undefined ? {} : { historyLimitBytes };
    const broker = await startBroker({ config: parseConfig(toml, null), databaseUrl, log: silentLogger(), ...limits });
    this.#t.after(() => broker.stop());
    return broker;
  }

  /** A started client of a user. */
  client(person: Person, brokers: readonly Broker[], options: { watch?: boolean } = {}): Promise<Client> {
    return this.clientOf(person, brokers.map(addressOf), options);
  }

  /** A started client of a user on brokers by address. */
  async clientOf(person: Person, brokers: readonly BrokerAddress[], options: { watch?: boolean } = {}): Promise<Client> {
    const client = new Client({ credentials: this.credentials(person, brokers), log: silentLogger(), agent: 'test', ...options });
    this.#t.after(() => client.stop());
    await client.start();
    return client;
  }
}

/** How peers see a broker. */
export function addressOf(broker: Broker): BrokerAddress {
  return { id: broker.id, endpoint: broker.endpoint, publicKey: broker.publicKey, region: 'default' };
}
