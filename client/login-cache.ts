import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionResponse } from '../protocol/http/session.ts';

const MAX_BYTES = 256 * 1024;
const OTHERS = 0o077;

/** Whose login it is. */
export interface LoginCacheKey {
  readonly api: string;
  readonly team: string;
  readonly identity: string;
  /** Programs do not share logins: each is a session of its own in their owner's list. */
  readonly program: string;
  /** The configuration file that holds the secret: when it changes, the login is not used any more. */
  readonly configFile: string | null;
}

/**
 * Keeps a login between calls, in a file that only its owner can read. A file that is damaged, expired, readable by others
 * or made with another configuration counts as absent. Nothing here ever fails: without a cache each call logs in.
 */
export class LoginCache {
  readonly #file: string;
  readonly #stamp: string;

  /** `folder` exists and is private. */
  constructor(folder: string, key: LoginCacheKey) {
    const name = createHash('sha256')
      .update(JSON.stringify([key.api, key.team, key.identity, key.program]))
      .digest('hex')
      .slice(0, 32);
    this.#file = join(folder, `login-${name}.json`);
    this.#stamp = stampOf(key.configFile);
  }

  /** The kept login, or null. The brokers check it; one that they refuse is replaced by the next `save`. */
  load(): SessionResponse | null {
    try {
      const { stamp, login } = JSON.parse(readPrivate(this.#file)) as { stamp?: unknown; login?: unknown };
      return stamp === this.#stamp && isLogin(login) && login.expiresAt * 1000 > Date.now() ? login : null;
    } catch {
      return null;
    }
  }

  /** Keeps a login; the file appears whole or not at all. */
  save(login: SessionResponse): void {
    const temporary = `${this.#file}.${randomBytes(6).toString('hex')}`;
    try {
      writeFileSync(temporary, JSON.stringify({ stamp: this.#stamp, login }), { mode: 0o600, flag: 'wx' });
      renameSync(temporary, this.#file);
    } catch {
      rmSync(temporary, { force: true });
    }
  }

  /** Forgets the login. */
  clear(): void {
    rmSync(this.#file, { force: true });
  }
}

/** Reads a file that must be ours alone. */
function readPrivate(file: string): string {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const stat = fstatSync(fd);
    const foreign = stat.uid !== process.getuid?.() || (stat.mode & OTHERS) !== 0;
    if (!stat.isFile() || foreign || stat.size > MAX_BYTES) throw new Error('not a private file');
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function stampOf(file: string | null): string {
  const stat = file === null ? undefined : statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${file} ${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}

function isLogin(value: unknown): value is SessionResponse {
  if (typeof value !== 'object' || value === null) return false;
  const { apiToken, edgeToken, expiresAt, channelKey, brokers } = value as Record<string, unknown>;
  const key = channelKey as Record<string, unknown> | null | undefined;
  return (
    typeof apiToken === 'string' &&
    typeof edgeToken === 'string' &&
    Number.isInteger(expiresAt) &&
    isZ85Key(key?.publicKey) &&
    isZ85Key(key?.secretKey) &&
    Array.isArray(brokers) &&
    brokers.length > 0 &&
    brokers.every(isBroker)
  );
}

function isBroker(value: unknown): boolean {
  const broker = value as Record<string, unknown> | null;
  const texts = [broker?.id, broker?.endpoint, broker?.region];
  return texts.every((text) => typeof text === 'string') && isZ85Key(broker?.publicKey);
}

function isZ85Key(value: unknown): boolean {
  return typeof value === 'string' && value.length === 40;
}
