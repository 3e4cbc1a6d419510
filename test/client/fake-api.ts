import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SessionResponse } from '../../protocol/http/session.ts';

/** A control-plane for tests of the client: it answers logins with what the test says, and counts them. */
export class FakeApi {
  readonly requests: string[] = [];
  /** Answer to the next logins and renewals; a number is an HTTP status with a problem document. */
  login: () => SessionResponse | { readonly status: number; readonly code: string; readonly detail: string };
  readonly #server: Server;

  private constructor(server: Server, login: FakeApi['login']) {
    this.#server = server;
    this.login = login;
  }

  static async start(login: FakeApi['login']): Promise<FakeApi> {
    const server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        api.requests.push(`${request.method} ${request.url}`);
        const answer = api.login();
        response.writeHead('status' in answer ? answer.status : 200, { 'content-type': 'application/json', connection: 'close' });
        response.end(JSON.stringify(answer));
      });
    });
    const api = new FakeApi(server, login);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
