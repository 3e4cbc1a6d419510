/** Packet types of Gearman's binary protocol that a foreground job needs. */
export const PacketType = Object.freeze({
  canDo: 1,
  preSleep: 4,
  noop: 6,
  submitJob: 7,
  jobCreated: 8,
  grabJob: 9,
  noJob: 10,
  jobAssign: 11,
  workComplete: 13,
  workFail: 14,
});

const HEADER_BYTES = 12;
const REQUEST_MAGIC = Buffer.from('\0REQ');

/** Called for each packet; `data` is valid only during the call. */
export type PacketVisitor = (type: number, data: Buffer) => void;

/** A packet to the job server; parts are separated by NUL. */
export function packet(type: number, ...parts: readonly (string | Buffer)[]): Buffer {
  const buffers = parts.flatMap((part, index) => [...(index === 0 ? [] : [Buffer.alloc(1)]), Buffer.from(part)]);
  const body = Buffer.concat(buffers);
  const header = Buffer.alloc(HEADER_BYTES);
  REQUEST_MAGIC.copy(header);
  header.writeUInt32BE(type, 4);
  header.writeUInt32BE(body.length, 8);
  return Buffer.concat([header, body]);
}

/** Cuts what the job server sends into packets. */
export class PacketReader {
  readonly #visit: PacketVisitor;
  #rest: Buffer = Buffer.alloc(0);

  constructor(visit: PacketVisitor) {
    this.#visit = visit;
  }

  /** Takes the next bytes of the connection. */
  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let offset = 0;
    while (offset + HEADER_BYTES <= bytes.length) {
      const end = offset + HEADER_BYTES + bytes.readUInt32BE(offset + 8);
      if (end > bytes.length) break;
      this.#visit(bytes.readUInt32BE(offset + 4), bytes.subarray(offset + HEADER_BYTES, end));
      offset = end;
    }
    this.#rest = bytes.subarray(offset);
  }
}
