import { Context, Router } from 'zeromq';
import { BatchWriter, readBatch } from '../../protocol/batch.ts';
import { SlotTable } from '../../runtime/wire/slot-table.ts';
import { type Role, servingRole } from '../roles/role.ts';
import { RelayRecord } from './records.ts';

interface Peer {
  readonly routingId: Buffer;
  readonly writer: BatchWriter;
}

interface Call {
  readonly client: Peer;
  /** The client's number for it. */
  readonly number: number;
}

/** Forwards requests of any client to one worker and each answer to who asked, by copy, one batch a turn and destination. */
export async function start(_parameters: null): Promise<Role> {
  const socket = new Router({ context: new Context({ blocky: false }), linger: 0 });
  await socket.bind('tcp://127.0.0.1:*');
  const relay = new Relay(socket);
  void relay.receive();
  return servingRole(socket.lastEndpoint ?? '', async () => socket.close());
}

class Relay {
  readonly #socket: Router;
  readonly #peers = new Map<number, Peer>();
  #worker: Peer | null = null;
  readonly #calls = new SlotTable<Call>();
  #scheduled = false;
  #sending = false;

  constructor(socket: Router) {
    this.#socket = socket;
  }

  async receive(): Promise<void> {
    for await (const [routingId, batch] of this.#socket) {
      if (routingId === undefined || batch === undefined) continue;
      const peer = this.#peer(routingId);
      readBatch(batch, (type, _flags, source, start, end) => this.#record(peer, type, source, start, end));
      if (!this.#scheduled && !this.#sending) {
        this.#scheduled = true;
        setImmediate(this.#drain);
      }
    }
  }

  #peer(routingId: Buffer): Peer {
    const key = routingId.readUInt32BE(1);
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      peer = { routingId, writer: new BatchWriter() };
      this.#peers.set(key, peer);
    }
    return peer;
  }

  #record(peer: Peer, type: number, source: Buffer, start: number, end: number): void {
    if (type === RelayRecord.hello) this.#worker = peer;
    else if (type === RelayRecord.request) this.#request(peer, source, start, end);
    else this.#answer(source, start, end);
  }

  #request(client: Peer, source: Buffer, start: number, end: number): void {
    const writer = this.#worker?.writer;
    if (writer === undefined) return;
    const at = writer.copy(RelayRecord.request, 0, source, start, end);
    writer.buffer.writeUInt32LE(this.#calls.add({ client, number: source.readUInt32LE(start) }), at);
  }

  #answer(source: Buffer, start: number, end: number): void {
    const number = source.readUInt32LE(start);
    const call = this.#calls.get(number);
    if (call === undefined) return;
    this.#calls.remove(number);
    const { writer } = call.client;
    const at = writer.copy(RelayRecord.answer, 0, source, start, end);
    writer.buffer.writeUInt32LE(call.number, at);
  }

  readonly #drain = async (): Promise<void> => {
    this.#scheduled = false;
    this.#sending = true;
    for (let sent = true; sent; ) {
      sent = false;
      for (const { routingId, writer } of this.#peers.values()) {
        if (writer.empty) continue;
        sent = true;
        await this.#socket.send([routingId, writer.take()]);
      }
    }
    this.#sending = false;
  };
}
