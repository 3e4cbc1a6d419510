/** Element types of the arrays, by PostgreSQL's own numbers. */
export const ElementType = Object.freeze({
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  date: 1082,
  timestamptz: 1184,
  uuid: 2950,
  jsonb: 3802,
});

/** A value of `ElementType`. */
export type ElementTypeNumber = (typeof ElementType)[keyof typeof ElementType];

const HEAD_BYTES = 20;
const NULL_LENGTH = -1;
const HIGH = 2 ** 32;
const EPOCH_MS = Date.UTC(2000, 0, 1);
const DAY_MS = 86_400_000;
const JSONB_VERSION = 1;

/**
 * A one-dimensional array in PostgreSQL's binary format, for `unnest`. The driver passes a Buffer on as it is, so thousands
 * of rows cost neither quoting nor hexadecimal digits. Each method adds one element; its name says what the array's type must be.
 */
export class BinaryArray {
  readonly #type: ElementTypeNumber;
  #buffer: Buffer;
  #end = HEAD_BYTES;
  #count = 0;
  #nulls = false;
  #day = '';
  #dayNumber = 0;

  constructor(type: ElementTypeNumber, expectedBytes = 1024) {
    this.#type = type;
    this.#buffer = Buffer.allocUnsafe(HEAD_BYTES + expectedBytes);
  }

  /** Elements so far. */
  get count(): number {
    return this.#count;
  }

  null(): void {
    this.#nulls = true;
    this.#count += 1;
    this.#ensure(4);
    this.#end = this.#buffer.writeInt32BE(NULL_LENGTH, this.#end);
  }

  bool(value: boolean): void {
    const at = this.#element(1);
    this.#buffer[at] = value ? 1 : 0;
  }

  int2(value: number): void {
    const at = this.#element(2);
    this.#buffer.writeInt16BE(value, at);
  }

  int4(value: number): void {
    const at = this.#element(4);
    this.#buffer.writeInt32BE(value, at);
  }

  /** A whole number up to 2^53. */
  int8(value: number): void {
    const at = this.#element(8);
    this.#buffer.writeInt32BE(Math.floor(value / HIGH), at);
    this.#buffer.writeUInt32BE(value >>> 0, at + 4);
  }

  /** Milliseconds since 1970. */
  timestamptz(ms: number): void {
    this.int8((Math.round(ms) - EPOCH_MS) * 1000);
  }

  /** A day as `2026-11-21`. Rows that come together mostly have the same one, so it is read once. */
  date(day: string): void {
    if (day !== this.#day) {
      this.#day = day;
      this.#dayNumber = (Date.parse(day) - EPOCH_MS) / DAY_MS;
    }
    this.int4(this.#dayNumber);
  }

  /** The 16 bytes of an id. */
  uuid(id: Buffer): void {
    this.bytea(id);
  }

  bytea(bytes: Buffer): void {
    const at = this.#element(bytes.length);
    bytes.copy(this.#buffer, at);
  }

  /** A text without NUL, which PostgreSQL cannot store. */
  text(text: string): void {
    const length = Buffer.byteLength(text);
    const at = this.#element(length);
    this.#buffer.write(text, at, length, 'utf8');
  }

  /** JSON that is written already. */
  jsonb(text: string): void {
    const length = Buffer.byteLength(text);
    const at = this.#element(length + 1);
    this.#buffer[at] = JSONB_VERSION;
    this.#buffer.write(text, at + 1, length, 'utf8');
  }

  /** The array as a parameter of a statement. Nothing may be added afterwards. */
  finish(): Buffer {
    const head = this.#buffer;
    head.writeInt32BE(this.#count === 0 ? 0 : 1, 0);
    head.writeInt32BE(this.#nulls ? 1 : 0, 4);
    head.writeInt32BE(this.#type, 8);
    head.writeInt32BE(this.#count, 12);
    head.writeInt32BE(1, 16);
    return head.subarray(0, this.#count === 0 ? 12 : this.#end);
  }

  #element(length: number): number {
    this.#ensure(4 + length);
    this.#count += 1;
    const at = this.#buffer.writeInt32BE(length, this.#end);
    this.#end = at + length;
    return at;
  }

  #ensure(more: number): void {
    const needed = this.#end + more;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#end);
    this.#buffer = grown;
  }
}
