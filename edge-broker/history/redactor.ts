import { readBlock } from '../../protocol/history-block.ts';
import { API_TOKEN_PREFIX } from '../../runtime/tokens.ts';

/** Words shorter than this would hit too much that is none. */
export const SHORTEST_SECRET = 6;

const STAR = 0x2a;
/** Every token of ours is a JWT that begins with `{"alg":`. */
const JWT_START = 'eyJhbGciOi';
const TOKEN_CHARACTERS = 20;
const LOOK_CHARACTERS = 64;

/** A beginning that gives a secret away, and how many characters must follow. */
interface Format {
  readonly start: string;
  readonly inside: (byte: number) => boolean;
}

const FORMATS: readonly Format[] = [
  { start: API_TOKEN_PREFIX, inside: isTokenByte },
  { start: JWT_START, inside: (byte) => isTokenByte(byte) || byte === 0x2e },
];

/** The beginning of a format inside base64: what it looks like, and how many bytes stand before it in its first group of three. */
interface Disguise {
  readonly format: Format;
  readonly needle: Buffer;
  readonly before: number;
}

const STARTS = FORMATS.map((format) => ({ format, needle: Buffer.from(format.start) }));
const DISGUISES: readonly Disguise[] = FORMATS.flatMap((format) =>
  [0, 1, 2].map((before) => ({ format, before, needle: Buffer.from(base64Inside(Buffer.from(format.start), before)) })),
);

/**
 * Blackens secrets in what is about to be stored, never in what callers get: API tokens and tokens of sessions by their form, and
 * the team's own words; as they are, URL-encoded, inside JSON, and in base64. Each byte becomes a star, so that lengths and
 * places stay what they were.
 */
export class Redactor {
  readonly #needles: readonly Buffer[];

  constructor(words: readonly string[]) {
    this.#needles = words.filter((word) => word.length >= SHORTEST_SECRET).flatMap(formsOf);
  }

  /** Blackens in place; returns whether there was anything. */
  mask(bytes: Buffer): boolean {
    let found = false;
    for (const needle of this.#needles) {
      for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) {
        bytes.fill(STAR, at, at + needle.length);
        found = true;
      }
    }
    for (const { format, needle } of STARTS) {
      for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) {
        const end = endOf(bytes, at, format);
        if (end - at < needle.length + TOKEN_CHARACTERS) continue;
        bytes.fill(STAR, at, end);
        found = true;
      }
    }
    for (const disguise of DISGUISES) {
      for (let at = bytes.indexOf(disguise.needle); at >= 0; at = bytes.indexOf(disguise.needle, at + disguise.needle.length)) {
        const end = disguisedEnd(bytes, at, disguise);
        if (end === at) continue;
        bytes.fill(STAR, at, end);
        found = true;
      }
    }
    return found;
  }

  /** The text with secrets blackened. */
  text(text: string): string {
    const bytes = Buffer.from(text);
    return this.mask(bytes) ? bytes.toString() : text;
  }

  /** Blackens in the output inside a block, also where a secret is spread over several pieces of one stream. */
  block(block: Buffer): void {
    const frames = [...readBlock(block)];
    if (frames.length === 1) return void this.mask((frames[0] as (typeof frames)[number]).data);
    for (const stream of ['stdout', 'stderr'] as const) {
      const pieces = frames.filter((frame) => frame.stream === stream).map((frame) => frame.data);
      if (pieces.length === 1) this.mask(pieces[0] as Buffer);
      if (pieces.length < 2) continue;
      const whole = Buffer.concat(pieces);
      if (!this.mask(whole)) continue;
      let at = 0;
      for (const piece of pieces) at += whole.copy(piece, 0, at, at + piece.length);
    }
  }
}

function formsOf(word: string): readonly Buffer[] {
  const raw = Buffer.from(word);
  const encoded = encodeURIComponent(word.toWellFormed());
  const forms = new Set([word, encoded, encoded.replaceAll(/%../g, (code) => code.toLowerCase()), JSON.stringify(word).slice(1, -1)]);
  for (const before of [0, 1, 2]) {
    const inside = base64Inside(raw, before);
    forms.add(inside);
    forms.add(inside.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return [...forms].map((form) => Buffer.from(form));
}

/** The characters of base64 that say nothing but these bytes, when `before` bytes of something else stand in their first group. */
function base64Inside(bytes: Buffer, before: number): string {
  const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
  return text.slice(leading(before), Math.floor(((before + bytes.length) * 8) / 6));
}

function endOf(bytes: Buffer, start: number, { start: text, inside }: Format): number {
  let at = start + text.length;
  while (at < bytes.length && inside(bytes[at] as number)) at += 1;
  return at;
}

/** Where a secret in base64 ends whose beginning seems to be at `at`; `at` when it is something else. */
function disguisedEnd(bytes: Buffer, at: number, disguise: Disguise): number {
  // A look at the beginning is cheap; text that is full of beginnings must not cost a look at everything each time.
  if (plainBytes(bytes, at, LOOK_CHARACTERS, disguise) < disguise.format.start.length + TOKEN_CHARACTERS) return at;
  const length = plainBytes(bytes, at, bytes.length, disguise);
  const start = at - leading(disguise.before);
  return Math.min(bytes.length, start + Math.ceil(((disguise.before + length) * 8) / 6));
}

/** Length of the secret that the base64 before and after `at` holds, read for `limit` characters; 0 for none. */
function plainBytes(bytes: Buffer, at: number, limit: number, { format, before }: Disguise): number {
  const start = at - leading(before);
  if (start < 0) return 0;
  const most = Math.min(bytes.length, at + limit);
  let end = at;
  while (end < most && isBase64Byte(bytes[end] as number)) end += 1;
  const plain = Buffer.from(bytes.toString('latin1', start, end), 'base64');
  return plain.indexOf(format.start, before) === before ? endOf(plain, before, format) - before : 0;
}

/** Characters of base64 that these bytes have a part in. */
function leading(bytes: number): number {
  return Math.ceil((bytes * 8) / 6);
}

function isTokenByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a) || byte === 0x2d || byte === 0x5f
  );
}

function isBase64Byte(byte: number): boolean {
  return isTokenByte(byte) || byte === 0x2b || byte === 0x2f;
}
