import { type Context, Router } from 'zeromq';
import type { Logger } from '../../runtime/logging.ts';

/** ZAP domain of the broker's port; enforcing it makes the port fail closed without a handler. */
export const ZAP_DOMAIN = 'triggerfs';

const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';
const Z85 = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';

/** Encodes 4·n bytes in Z85 (ZeroMQ RFC 32). */
export function encodeZ85(bytes: Buffer): string {
  let text = '';
  for (let offset = 0; offset < bytes.length; offset += 4) {
    let value = bytes.readUInt32BE(offset);
    let block = '';
    for (let digit = 0; digit < 5; digit += 1) {
      block = Z85[value % 85] + block;
      value = Math.floor(value / 85);
    }
    text += block;
  }
  return text;
}

/**
 * Answers ZAP requests (ZeroMQ RFC 27): a connection is admitted when its CURVE key is one of the channel keys
 * that logins hand out. Who the peer is, HELLO proves; this only keeps strangers off the port.
 * ZeroMQ knows one ZAP address in a context, so each broker has a context of its own.
 */
export class Admission {
  readonly #socket: Router;
  readonly #isChannelKey: (publicKey: string) => boolean;
  readonly #log: Logger;
  #closed = false;
  #serving: Promise<void> = Promise.resolve();
  /** Connections refused so far. */
  denied = 0;

  constructor(context: Context, isChannelKey: (publicKey: string) => boolean, log: Logger) {
    this.#socket = new Router({ context, linger: 0 });
    this.#isChannelKey = isChannelKey;
    this.#log = log;
  }

  /** Begins to answer. Must happen before the broker's socket is bound. `failed` is called when answering ends by itself. */
  async start(failed: (error: unknown) => void): Promise<void> {
    await this.#socket.bind(ZAP_ENDPOINT);
    this.#serving = this.#serve().catch((error: unknown) => {
      if (!this.#closed) failed(error);
    });
  }

  /** Stops answering; new connections are refused from then on. */
  async stop(): Promise<void> {
    this.#closed = true;
    this.#socket.close();
    await this.#serving;
  }

  async #serve(): Promise<void> {
    for await (const frames of this.#socket) {
      const delimiter = frames.findIndex((frame) => frame.length === 0);
      const envelope = frames.slice(0, delimiter + 1);
      const [version, requestId, , , , mechanism, key] = frames.slice(delimiter + 1);
      if (version === undefined || requestId === undefined) continue;
      const admitted = mechanism?.toString() === 'CURVE' && key?.length === 32 && this.#isChannelKey(encodeZ85(key));
      if (!admitted) {
        this.denied += 1;
        this.#log.debug('connection refused: no channel key');
      }
      await this.#socket.send([...envelope, version, requestId, admitted ? '200' : '400', admitted ? 'OK' : 'unknown key', '', '']);
    }
  }
}
