import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { TriggerFsError } from '../../protocol/errors.ts';

/** A team's data key. */
export interface DataKey {
  /** Row of `triggerfs.team_keys`; stands in front of everything sealed with it. */
  readonly id: number;
  /** 32 bytes. */
  readonly key: Buffer;
}

/** Where keys for opening come from. */
export interface KeyRing {
  /** A key by its id. @throws TriggerFsError TFS_SEALED when the team has no such key */
  byId(teamId: number, id: number): Promise<DataKey>;
}

const VERSION = 1;
const DEFLATED = 0x01;
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Version, flags, key id. Authenticated together with the caller's words. */
const HEAD_BYTES = 6;
const OVERHEAD_BYTES = HEAD_BYTES + IV_BYTES + TAG_BYTES;
/** What is shorter hardly shrinks, and setting up the compressor costs more than sealing. */
const MIN_DEFLATE_BYTES = 512;
/** Nothing sealed is larger than a payload; a damaged length must not fill the memory. */
const MAX_PLAIN_BYTES = 16 * 1024 * 1024;

/**
 * Compresses (when that makes it smaller) and encrypts with AES-256-GCM under a random IV:
 * `u8 version | u8 flags | u32 key id | 12 bytes iv | 16 bytes tag | ciphertext`, little endian.
 * `aad` says what it is and where it belongs (`purpose|team|id|...`), so that rows cannot be swapped.
 */
export function seal({ id, key }: DataKey, aad: string, plain: Buffer): Buffer {
  const smaller = plain.length < MIN_DEFLATE_BYTES ? null : deflateRawSync(plain, { level: 1 });
  const deflated = smaller !== null && smaller.length < plain.length;
  const body = deflated ? smaller : plain;
  const sealed = Buffer.allocUnsafe(OVERHEAD_BYTES + body.length);
  sealed[0] = VERSION;
  sealed[1] = deflated ? DEFLATED : 0;
  sealed.writeUInt32LE(id, 2);
  writeIv(sealed, HEAD_BYTES);
  const cipher = createCipheriv('aes-256-gcm', keyObject(key), sealed.subarray(HEAD_BYTES, HEAD_BYTES + IV_BYTES));
  cipher.setAAD(bound(sealed, aad));
  sealed.set(cipher.update(body), OVERHEAD_BYTES);
  cipher.final();
  sealed.set(cipher.getAuthTag(), HEAD_BYTES + IV_BYTES);
  return sealed;
}

/**
 * Opens what `seal` made of the same team with the same `aad`.
 * @throws TriggerFsError TFS_SEALED when the key is gone, or the bytes were changed or belong elsewhere
 */
export async function open(keys: KeyRing, teamId: number, aad: string, sealed: Buffer): Promise<Buffer> {
  if (sealed.length < OVERHEAD_BYTES || sealed[0] !== VERSION)
    throw new TriggerFsError('TFS_SEALED', `${sealed.length} bytes of ${aad} are nothing that was sealed here`);
  const { key } = await keys.byId(teamId, sealed.readUInt32LE(2));
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyObject(key), sealed.subarray(HEAD_BYTES, HEAD_BYTES + IV_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(bound(sealed, aad));
    decipher.setAuthTag(sealed.subarray(HEAD_BYTES + IV_BYTES, OVERHEAD_BYTES));
    const body = Buffer.concat([decipher.update(sealed.subarray(OVERHEAD_BYTES)), decipher.final()]);
    return (sealed[1] as number) & DEFLATED ? inflateRawSync(body, { maxOutputLength: MAX_PLAIN_BYTES }) : body;
  } catch (cause) {
    throw new TriggerFsError('TFS_SEALED', `${aad} cannot be opened: it was changed, or belongs elsewhere`, { cause });
  }
}

const keyObjects = new WeakMap<Buffer, KeyObject>();

/** Node prepares a key of plain bytes anew for each use, which costs three times as much as sealing a short text. */
function keyObject(key: Buffer): KeyObject {
  let made = keyObjects.get(key);
  if (made === undefined) {
    made = createSecretKey(key);
    keyObjects.set(key, made);
  }
  return made;
}

const MAX_UTF8_BYTES = 3;
let scratch = Buffer.alloc(0);

/** What is authenticated. Valid until the next call: the cipher has read it by then. */
function bound(sealed: Buffer, aad: string): Buffer {
  const needed = HEAD_BYTES + aad.length * MAX_UTF8_BYTES;
  if (scratch.length < needed) scratch = Buffer.alloc(needed * 2);
  sealed.copy(scratch, 0, 0, HEAD_BYTES);
  return scratch.subarray(0, HEAD_BYTES + scratch.write(aad, HEAD_BYTES));
}

const IVS_AT_ONCE = 512;
let ivs = Buffer.alloc(0);
let nextIvAt = 0;

/** IVs are drawn many at a time: one system call each would cost more than the encryption of a short text. */
function writeIv(target: Buffer, at: number): void {
  if (nextIvAt >= ivs.length) {
    ivs = randomBytes(IVS_AT_ONCE * IV_BYTES);
    nextIvAt = 0;
  }
  ivs.copy(target, at, nextIvAt, nextIvAt + IV_BYTES);
  nextIvAt += IV_BYTES;
}
