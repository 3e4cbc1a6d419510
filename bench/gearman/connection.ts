import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PacketReader, type PacketVisitor } from './packets.ts';

/** A connection to a Gearman job server that writes the packets of a turn of the event loop at once. */
export class GearmanConnection {
  readonly #socket: Socket;
  #packets: Buffer[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Connects to a job server on this machine. */
  static async open(port: number, visit: PacketVisitor): Promise<GearmanConnection> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay(true);
    const reader = new PacketReader(visit);
    socket.on('data', (chunk) => reader.push(chunk));
    return new GearmanConnection(socket);
  }

  /** Sends a packet at the end of this turn. */
  send(packet: Buffer): void {
    this.#packets.push(packet);
    if (this.#packets.length === 1) setImmediate(this.#flush);
  }

  /** Closes the connection. */
  close(): void {
    this.#socket.destroy();
  }

  readonly #flush = (): void => {
    const packets = this.#packets;
    this.#packets = [];
    this.#socket.write(Buffer.concat(packets));
  };
}
