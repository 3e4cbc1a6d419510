import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** What happens to bytes: they pass, are swallowed in both directions (half-open), or connections are refused and reset. */
type Mode = 'pass' | 'swallow' | 'reset';

/** A TCP proxy in front of PostgreSQL that a test can cut, blackhole and heal. */
export class DatabaseProxy {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #mode: Mode = 'pass';

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** Starts a proxy for the database of a URL. */
  static async start(t: TestContext, target: string): Promise<DatabaseProxy> {
    const address = new URL(target);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(target);
    url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const proxy = new DatabaseProxy(server, url.href);
    server.on('connection', (socket) => proxy.#accept(socket, Number(address.port), address.hostname));
    t.after(() => proxy.stop());
    return proxy;
  }

  /** Resets all connections and refuses new ones. */
  cut(): void {
    this.#mode = 'reset';
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Keeps connections open, but nothing passes any more. */
  blackhole(): void {
    this.#mode = 'swallow';
  }

  /** New connections pass again; swallowed ones stay dead. */
  heal(): void {
    this.#mode = 'pass';
  }

  /** Ends the proxy. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket, port: number, host: string): void {
    if (this.#mode === 'reset') {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(port, host);
    let dead = false;
    const pipe = (from: Socket, to: Socket): void => {
      this.#sockets.add(from);
      from.on('error', () => undefined);
      from.on('data', (data) => {
        if (this.#mode === 'swallow') dead = true;
        if (!dead) to.write(data);
      });
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    };
    pipe(client, upstream);
    pipe(upstream, client);
  }
}
