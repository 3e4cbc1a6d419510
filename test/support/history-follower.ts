import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { HistoryEvent } from '../../protocol/http/history.ts';

/** A reader of followed output, over server-sent events. */
export class Follower {
  readonly events: HistoryEvent[] = [];
  readonly ids: string[] = [];
  pings = 0;
  ended = false;
  broken = false;
  readonly response: IncomingMessage;
  readonly #request: ClientRequest;
  #rest = '';

  constructor(call: ClientRequest, response: IncomingMessage) {
    this.#request = call;
    this.response = response;
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#read(text));
    response.on('end', () => {
      this.ended = true;
    });
    response.on('error', () => {
      this.broken = true;
    });
  }

  /** Opens it; `path` is below `/v1/history/`. */
  static async open(url: string, token: string, path: string, headers: Record<string, string> = {}): Promise<Follower> {
    const call = request(new URL(`/v1/history/${path}`, url), {
      agent: false,
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream', ...headers },
    }).end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    return new Follower(call, response);
  }

  /** Output of a worker as it was written. */
  bytes(worker: string): Buffer {
    return Buffer.concat(
      this.events.map((event) => {
        if (event.event !== 'output' || event.worker !== worker) return Buffer.alloc(0);
        return Buffer.from(event.data, event.encoding ?? 'utf8');
      }),
    );
  }

  /** Output of a worker as text. */
  text(worker = 'w1'): string {
    return this.bytes(worker).toString();
  }

  /** Kinds of the events so far. */
  get kinds(): string[] {
    return this.events.map(({ event }) => event);
  }

  /** Cursor of the last event. */
  get lastId(): string {
    return this.ids.at(-1) ?? '';
  }

  /** Hangs up. */
  close(): void {
    this.#request.destroy();
  }

  #read(text: string): void {
    const parts = (this.#rest + text).split('\n\n');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) {
      if (part.startsWith(':')) this.pings += 1;
      const id = /^id: (.*)$/m.exec(part)?.[1];
      const data = /^data: (.*)$/m.exec(part)?.[1];
      if (id !== undefined) this.ids.push(id);
      if (data !== undefined) this.events.push(JSON.parse(data));
    }
  }
}
