import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Pool } from 'pg';
import { TriggerFsError } from '../../protocol/errors.ts';

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** The part of a pool that the keys need. */
export type KeyStore = Pick<Pool, 'query'>;

/**
 * The key that wraps the teams' data keys; it never leaves its file. The file has one key a line (base64 of 32 bytes);
 * the first is the one in use, the others still open what they wrapped. Lines that begin with # are comments.
 */
export class MasterKey {
  /** Names the key in use without saying anything about it. */
  readonly fingerprint: string;
  readonly #keys: ReadonlyMap<string, Buffer>;

  /** @throws TriggerFsError TFS_CONFIG without a key */
  constructor(keys: readonly Buffer[]) {
    this.#keys = new Map(keys.map((key) => [fingerprintOf(key), key]));
    const [first] = this.#keys.keys();
    if (first === undefined) throw new TriggerFsError('TFS_CONFIG', 'no master key');
    this.fingerprint = first;
  }

  /**
   * Reads the file, or makes it (mode 0600) when it is missing and the database knows no master key yet.
   * @throws TriggerFsError TFS_CONFIG when the file is damaged, readable by others, or not the one that the database was used with
   */
  static async load(file: string, store: KeyStore): Promise<MasterKey> {
    const made = !existsSync(file) && (await isFirst(file, store)) && createFile(file);
    const master = new MasterKey(readFile(file));
    const { rows } = await store.query<{ known: string }>('select triggerfs.register_master_key($1) as known', [master.fingerprint]);
    const known = rows[0]?.known ?? '';
    if (!master.has(known)) {
      // Somebody else was first; a key that nobody needs would only confuse.
      if (made) rmSync(file, { force: true });
      throw foreign(file, known);
    }
    return master;
  }

  /** Whether this holds the key with that fingerprint. */
  has(fingerprint: string): boolean {
    return this.#keys.has(fingerprint);
  }

  /** Encrypts a data key with the key in use. */
  wrap(aad: string, dataKey: Buffer): Buffer {
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#keys.get(this.fingerprint) as Buffer, iv);
    cipher.setAAD(Buffer.from(aad));
    const body = Buffer.concat([cipher.update(dataKey), cipher.final()]);
    return Buffer.concat([iv, cipher.getAuthTag(), body]);
  }

  /** Decrypts a data key. @throws TriggerFsError TFS_SEALED when its master key is not in the file, or it was changed */
  unwrap(fingerprint: string, aad: string, wrapped: Buffer): Buffer {
    const key = this.#keys.get(fingerprint);
    if (key === undefined)
      throw new TriggerFsError('TFS_SEALED', `a data key was wrapped by master key ${fingerprint}, which is not in the file`);
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, wrapped.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(aad));
      decipher.setAuthTag(wrapped.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
      return Buffer.concat([decipher.update(wrapped.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new TriggerFsError('TFS_SEALED', `a data key (${aad}) cannot be unwrapped: it was changed`, { cause });
    }
  }
}

async function isFirst(file: string, store: KeyStore): Promise<boolean> {
  const { rows } = await store.query<{ known: string | null }>('select triggerfs.register_master_key(null) as known');
  const known = rows[0]?.known ?? null;
  if (known !== null && !existsSync(file)) throw foreign(file, known);
  return known === null;
}

/** Makes the file, unless another process of this machine did in the meantime. It appears with its content, so nobody reads half a key. */
function createFile(file: string): boolean {
  const draft = `${file}.${process.pid}`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(draft, `${randomBytes(KEY_BYTES).toString('base64')}\n`, { mode: 0o600 });
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new TriggerFsError('TFS_CONFIG', `cannot make the master key ${file}: ${(error as Error).message}`, { cause: error });
  } finally {
    rmSync(draft, { force: true });
  }
}

function readFile(file: string): readonly Buffer[] {
  try {
    if ((statSync(file).mode & 0o077) !== 0) throw new Error('it is readable by others: chmod 600 it');
    const lines = readFileSync(file, 'utf8').split('\n');
    const keys = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
    return keys.map((line, index) => {
      const key = Buffer.from(line, 'base64');
      if (key.length !== KEY_BYTES) throw new Error(`key ${index + 1} is not the base64 of ${KEY_BYTES} bytes`);
      return key;
    });
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot use the master key ${file}: ${(cause as Error).message}`, { cause });
  }
}

function foreign(file: string, known: string): TriggerFsError {
  return new TriggerFsError(
    'TFS_CONFIG',
    `the database is sealed with master key ${known}, which is not in ${file}: copy the file from a machine that has it, or from its backup`,
  );
}

function fingerprintOf(key: Buffer): string {
  return createHash('sha256').update('triggerfs master key').update(key).digest('hex').slice(0, 16);
}
