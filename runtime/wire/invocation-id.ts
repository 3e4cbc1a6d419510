import { randomBytes } from 'node:crypto';
import { INVOCATION_ID_BYTES } from '../../protocol/records.ts';

const COUNTER_LIMIT = 2 ** 30;

/**
 * Makes invocation ids: UUID version 7 (RFC 9562), with a counter in place of part of the random bits,
 * so that ids of one process rise strictly and cost no system call. The other 44 random bits tell processes apart.
 */
export class InvocationIds {
  readonly #random = randomBytes(6);
  #counter = 0;
  #ms = 0;

  /** Writes a new id into `target` at `offset`. */
  write(target: Buffer, offset: number): void {
    const now = Date.now();
    if (now > this.#ms) {
      this.#ms = now;
      this.#counter = 0;
    } else if (++this.#counter >= COUNTER_LIMIT) {
      this.#ms += 1;
      this.#counter = 0;
    }
    const counter = this.#counter;
    target.writeUIntBE(this.#ms, offset, 6);
    target[offset + 6] = 0x70 | (counter >>> 26);
    target[offset + 7] = (counter >>> 18) & 0xff;
    target[offset + 8] = 0x80 | ((counter >>> 12) & 0x3f);
    target[offset + 9] = (counter >>> 4) & 0xff;
    target[offset + 10] = ((counter & 0x0f) << 4) | ((this.#random[0] as number) & 0x0f);
    this.#random.copy(target, offset + 11, 1, 6);
  }

  /** A new id in a buffer of its own. */
  next(): Buffer {
    const id = Buffer.allocUnsafe(INVOCATION_ID_BYTES);
    this.write(id, 0);
    return id;
  }
}

/** Text form of an id: `018f3c3e-...`. */
export function formatInvocationId(id: Buffer, offset = 0): string {
  const hex = id.toString('hex', offset, offset + INVOCATION_ID_BYTES);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Bytes of an id in text form; null when it is no UUID. */
export function parseInvocationId(text: string): Buffer | null {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return null;
  return Buffer.from(text.replaceAll('-', ''), 'hex');
}
