import { isUtf8 } from 'node:buffer';

/** Output as JSON can carry it: text, or base64 of bytes that are no UTF-8. */
export type TextOrBase64 = { readonly text: string; readonly base64: null } | { readonly text: null; readonly base64: string };

/** All of an output. */
export function textOrBase64(bytes: Buffer): TextOrBase64 {
  return isUtf8(bytes) ? { text: bytes.toString('utf8'), base64: null } : { text: null, base64: bytes.toString('base64') };
}

/** Output that comes in pieces: a character that is cut at the end of a piece waits for the next one. */
export class OutputText {
  #rest: Buffer;

  /** `rest`: what was left of a character before. */
  constructor(rest: Buffer = Buffer.alloc(0)) {
    this.#rest = rest;
  }

  /** What waits for the rest of its character, as hex; at most 3 bytes. */
  get rest(): string {
    return this.#rest.toString('hex');
  }

  /** The text of a piece together with what was left of the one before; null when all of it has to wait. */
  write(data: Buffer): TextOrBase64 | null {
    const bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    const end = bytes.length - cutBytes(bytes);
    this.#rest = Buffer.from(bytes.subarray(end));
    return end === 0 ? null : textOrBase64(bytes.subarray(0, end));
  }

  /** The bytes of a character that never became whole; null when there are none. */
  end(): TextOrBase64 | null {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length === 0 ? null : textOrBase64(rest);
  }
}

/** How many bytes at the end are the beginning of a character that goes on. */
function cutBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    return characterBytes(byte) > back ? back : 0;
  }
  return 0;
}

function characterBytes(lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}
