import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { curveKeyPair } from 'zeromq';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { ChannelKey } from '../../protocol/http/session.ts';
import type { Logger } from '../../runtime/logging.ts';
import { TokenSigner } from '../../runtime/tokens.ts';
import type { Database, Transaction } from '../database.ts';

/** A public key as JWKS shows it. */
export interface JsonWebKey {
  readonly kty: string;
  readonly crv: string;
  readonly x: string;
  readonly kid: string;
  readonly use: string;
  readonly alg: string;
}

interface SigningRow {
  kid: string;
  public_key: string;
  private_key: string;
  created_at: Date;
  retires_at: Date;
}

const DAY_MS = 86_400_000;
const SIGNING_LIFE_MS = 30 * DAY_MS;
/** A successor is made this long before a key retires. */
const OVERLAP_MS = DAY_MS;
/** A retired key verifies for one token life and a margin. */
const VERIFY_MS = 2 * 3_600_000;
const CHANNEL_LIFE_MS = 2 * DAY_MS;
/** Brokers hear of a new key within seconds; until then the older one goes on. */
const SPREAD_MS = 30_000;
const REFRESH_MS = 60_000;
const LOCK = 7_420_318_652;

/**
 * The keys of the fleet, kept in the database and shared by all control-planes: Ed25519 keys that sign tokens
 * (new every 30 days, overlapping) and CURVE keys that admit connections to the brokers (new every day, good for two).
 */
export class KeyRing {
  readonly #database: Database;
  readonly #log: Logger;
  #signer: TokenSigner | null = null;
  #channel: ChannelKey | null = null;
  #publicKeys: ReadonlyMap<string, string> = new Map();
  #readAt = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
  }

  /** Makes missing keys, reads all, and goes on reading them every minute. */
  async start(): Promise<void> {
    await this.rotate();
    this.#timer = setInterval(() => {
      this.refresh().catch((err: unknown) => this.#log.warn({ err }, 'cannot read the keys, going on with those at hand'));
    }, REFRESH_MS);
    this.#timer.unref();
  }

  /** Stops reading. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Makes successors of keys that end soon and removes those that ended. Safe in several processes at once. */
  async rotate(): Promise<void> {
    await this.#database.fleet(async (tx) => {
      await tx.run('select pg_advisory_xact_lock($1)', [LOCK]);
      await tx.run(`delete from triggerfs.signing_keys where retires_at < now() - $1 * interval '1 ms'`, [VERIFY_MS]);
      await tx.run('delete from triggerfs.channel_keys where expires_at < now()');
      await addSigningKey(tx);
      await addChannelKey(tx);
    });
    await this.refresh();
  }

  /** Reads the keys. */
  async refresh(): Promise<void> {
    const { signing, channel } = await this.#database.fleet(async (tx) => ({
      signing: await tx.rows<SigningRow>(
        `select k.kid, k.public_key, s.private_key, k.created_at, k.retires_at
         from triggerfs.signing_keys k join triggerfs.signing_secrets s on s.kid = k.kid order by k.created_at desc`,
      ),
      channel: await tx.rows<ChannelKey & { created_at: Date }>(
        `select k.public_key as "publicKey", s.secret_key as "secretKey", k.created_at
         from triggerfs.channel_keys k join triggerfs.channel_secrets s on s.public_key = k.public_key
         where k.expires_at > now() order by k.created_at desc`,
      ),
    }));
    this.#readAt = Date.now();
    this.#publicKeys = new Map(signing.map((row) => [row.kid, row.public_key]));
    const current = newestSpread(signing.filter((row) => row.retires_at.getTime() > Date.now()));
    if (current !== undefined && current.kid !== this.#signer?.kid) this.#signer = new TokenSigner(current.kid, current.private_key);
    const admitting = newestSpread(channel);
    if (admitting !== undefined) this.#channel = { publicKey: admitting.publicKey, secretKey: admitting.secretKey };
  }

  /** Signs with the current key. @throws TriggerFsError TFS_UNAVAILABLE before `start` */
  get signer(): TokenSigner {
    if (this.#signer === null) throw new TriggerFsError('TFS_UNAVAILABLE', 'no signing key has been read yet');
    return this.#signer;
  }

  /** Admits a connection to the brokers. @throws TriggerFsError TFS_UNAVAILABLE before `start` */
  get channelKey(): ChannelKey {
    if (this.#channel === null) throw new TriggerFsError('TFS_UNAVAILABLE', 'no channel key has been read yet');
    return this.#channel;
  }

  /** PEM of the public key with this id, which another control-plane may have made a moment ago; null when there is none. */
  async publicKey(kid: string): Promise<string | null> {
    if (!this.#publicKeys.has(kid) && Date.now() - this.#readAt > 1_000) await this.refresh();
    return this.#publicKeys.get(kid) ?? null;
  }

  /** All public keys that verify tokens. */
  jsonWebKeys(): JsonWebKey[] {
    return [...this.#publicKeys].map(([kid, pem]) => {
      const { kty = '', crv = '', x = '' } = createPublicKey(pem).export({ format: 'jwk' });
      return { kty, crv, x, kid, use: 'sig', alg: 'EdDSA' };
    });
  }
}

/** The newest key that everyone has heard of, or the newest at all. Rows come newest first. */
function newestSpread<T extends { created_at: Date }>(rows: readonly T[]): T | undefined {
  return rows.find((row) => row.created_at.getTime() < Date.now() - SPREAD_MS) ?? rows.at(-1);
}

async function addSigningKey(tx: Transaction): Promise<void> {
  const [newest] = await tx.rows(`select from triggerfs.signing_keys where retires_at > now() + $1 * interval '1 ms'`, [OVERLAP_MS]);
  if (newest !== undefined) return;
  const { publicKey, privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const kid = randomUUID();
  await tx.run(`insert into triggerfs.signing_keys (kid, public_key, retires_at) values ($1, $2, now() + $3 * interval '1 ms')`, [
    kid,
    publicKey.trim(),
    SIGNING_LIFE_MS,
  ]);
  await tx.run('insert into triggerfs.signing_secrets (kid, private_key) values ($1, $2)', [kid, privateKey.trim()]);
}

async function addChannelKey(tx: Transaction): Promise<void> {
  const [newest] = await tx.rows(`select from triggerfs.channel_keys where created_at > now() - interval '1 day'`);
  if (newest !== undefined) return;
  const { publicKey, secretKey } = curveKeyPair();
  await tx.run(`insert into triggerfs.channel_keys (public_key, expires_at) values ($1, now() + $2 * interval '1 ms')`, [
    publicKey,
    CHANNEL_LIFE_MS,
  ]);
  await tx.run('insert into triggerfs.channel_secrets (public_key, secret_key) values ($1, $2)', [publicKey, secretKey]);
}
