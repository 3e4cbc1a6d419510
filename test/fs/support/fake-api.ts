import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { curveKeyPair } from 'zeromq';
import type { BrokerAddress } from '../../../protocol/control.ts';
import { ERRORS, type ErrorCode } from '../../../protocol/errors.ts';
import type { SessionResponse } from '../../../protocol/http/session.ts';
import type { Tree, TreeDirectory, TreeTrigger } from '../../../protocol/http/tree.ts';

/** A control-plane of a few lines: login, tree and changes to it. Set `down` to answer 503. */
export class FakeApi {
  readonly #server: Server;
  directories: TreeDirectory[] = [];
  triggers: TreeTrigger[] = [];
  brokers: BrokerAddress[] = [];
  role = 'owner';
  down = false;
  version = 1;
  readonly requests: string[] = [];
  readonly #channelKey = curveKeyPair();
  /** Called when the tree changed: brokers announce that. */
  onChanged: (version: number) => void = () => undefined;
  #ids = 100;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeApi> {
    const server = createServer((request, response) => void api.#answer(request, response));
    const api: FakeApi = new FakeApi(server);
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

  directory(path: string, mode = 0o775): TreeDirectory {
    const directory = { id: ++this.#ids, path, mode, updatedAt: new Date().toISOString() };
    this.directories.push(directory);
    this.#touch();
    return directory;
  }

  trigger(path: string, rule: Partial<TreeTrigger> = {}): TreeTrigger {
    const trigger = makeTrigger(++this.#ids, path, rule);
    this.triggers.push(trigger);
    this.#touch();
    return trigger;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    const call = `${request.method} ${request.url}`;
    this.requests.push(call);
    const send = (status: number, value: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    const problem = (code: ErrorCode): void => {
      const { status, hint, retryable } = ERRORS[code];
      send(status, { code, title: code, status, detail: `fake ${code}`, hint, retryable });
    };
    if (this.down) return problem('TFS_UNAVAILABLE');
    if (call === 'POST /v1/login' && body.secret !== 'secret') return problem('TFS_BAD_CREDENTIALS');
    if (call === 'POST /v1/login' || call === 'POST /v1/renew') return send(200, this.#session());
    if (call === 'GET /v1/tree') return send(200, this.#tree());
    this.#change(call, body, send, problem);
  }

  #change(
    call: string,
    body: Record<string, unknown>,
    send: (status: number, value: unknown) => void,
    problem: (code: ErrorCode) => void,
  ): void {
    if (this.role === 'viewer') return problem('TFS_FORBIDDEN');
    if (call === 'POST /v1/directories') {
      if (this.directories.some((directory) => directory.path === body.path)) return problem('TFS_CONFLICT');
      return send(201, this.directory(String(body.path), Number(body.mode)));
    }
    const match = /^(PATCH|DELETE) \/v1\/(directories|triggers)\/(\d+)$/.exec(call);
    const list: { id: number; path: string; mode: number }[] = match?.[2] === 'triggers' ? this.triggers : this.directories;
    const found = list.findIndex((node) => node.id === Number(match?.[3]));
    const node = list[found];
    if (match === null || node === undefined) return problem('TFS_NOT_FOUND');
    if (match[1] === 'DELETE') list.splice(found, 1);
    else this.#update(list, found, body);
    this.#touch();
    send(200, { ...node, ...body });
  }

  #update(list: { path: string }[], index: number, body: Record<string, unknown>): void {
    const node = list[index] as { path: string };
    if (typeof body.path === 'string') {
      const below = (other: { path: string }): void => {
        if (other.path.startsWith(`${node.path}/`)) other.path = body.path + other.path.slice(node.path.length);
      };
      this.directories.forEach(below);
      this.triggers.forEach(below);
    }
    list[index] = { ...node, ...body };
  }

  #touch(): void {
    this.version += 1;
    this.onChanged(this.version);
  }

  #tree(): Tree {
    return { version: this.version, directories: this.directories, triggers: this.triggers };
  }

  #session(): SessionResponse {
    return {
      apiToken: 'api',
      edgeToken: 'edge',
      expiresAt: Math.floor(Date.now() / 1000) + 600,
      team: 'demo',
      identity: 'demo',
      role: this.role,
      channelKey: this.#channelKey,
      brokers: this.brokers,
    };
  }
}

/** A trigger with a rule, as the tree has it. */
export function makeTrigger(id: number, path: string, rule: Partial<TreeTrigger> = {}): TreeTrigger {
  return {
    id,
    path,
    mode: 0o644,
    plugin: 'echo',
    service: 'demo',
    args: {},
    timeoutMs: 10_000,
    framing: 'write',
    durability: 'process',
    hits: 0,
    updatedAt: new Date().toISOString(),
    ...rule,
  };
}
