import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Client } from '../../client/index.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { callApi } from '../../runtime/api.ts';
import { type Config, loadConfig } from '../../runtime/config/index.ts';
import { Credentials, logIn } from '../../runtime/credentials.ts';
import { environment } from '../../runtime/environment.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { lastFirst } from './last-first.ts';
import { createDatabase } from './postgres.ts';
import { processesNaming, type Ready, ServerProcess, serverFolder } from './server.ts';
import { until } from './wait.ts';

/** No address: the server starts the PostgreSQL that it brings along. For tests that harm it. */
export const EMBEDDED = '';

/** What a system is given. */
export interface SystemOptions {
  readonly mount: boolean;
  /** Address of its database, or `EMBEDDED`. Default: a fresh one in the PostgreSQL of the run, which spares an `initdb`. */
  readonly databaseUrl?: string;
}

/** A whole triggerFS on this machine, as `npm start` brings it up, with its demo content. */
export class System {
  readonly folder: string;
  readonly server: ServerProcess;
  readonly ready: Ready;
  readonly config: Config;
  readonly login: SessionResponse;
  readonly #t: Pick<TestContext, 'after'>;

  private constructor(
    t: Pick<TestContext, 'after'>,
    folder: string,
    server: ServerProcess,
    ready: Ready,
    config: Config,
    login: SessionResponse,
  ) {
    this.#t = t;
    this.folder = folder;
    this.server = server;
    this.ready = ready;
    this.config = config;
    this.login = login;
  }

  /** Starts it; it ends with the test. */
  static async start(test: Pick<TestContext, 'after'>, options: SystemOptions): Promise<System> {
    const t = lastFirst(test);
    const databaseUrl = options.databaseUrl ?? (await createDatabase(t, { cheapPasswords: true }));
    const folder = serverFolder(t);
    const mountpoint = options.mount ? join(folder, 'mnt') : 'none';
    const ports = ['--api-port', '0', '--broker-port', '0', '--gateway-port', '0'];
    const server = new ServerProcess(t, ['--json', '--data-dir', join(folder, 'data'), ...ports, '--mountpoint', mountpoint], {
      env: { DATABASE_URL: databaseUrl },
    });
    const ready = await server.ready();
    const config = loadConfig(environment(), ready.config);
    const { team, identity, secret } = config.main;
    const login = await logIn(ready.api, { kind: 'user', team, identity, secret });
    return new System(t, folder, server, ready, config, login);
  }

  /** Calls the API as the demo user. */
  api<T>(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T> {
    return callApi<T>(this.ready.api, { method, path, token: this.login.apiToken, ...(body === undefined ? {} : { body }) });
  }

  /** A started client of the demo user. */
  async client(): Promise<Client> {
    const credentials = new Credentials({ api: this.ready.api, method: null, session: this.login, log: silentLogger() });
    const client = new Client({ credentials, log: silentLogger(), agent: 'test' });
    this.#t.after(async () => {
      await client.stop();
      credentials.stop();
    });
    await client.start();
    return client;
  }

  /** Process ids of a part: `edge-broker`, `worker-agent`, `fs`, `control-plane`. */
  parts(folder: string): number[] {
    return processesNaming(this.ready.config, `/${folder}/`);
  }

  /** Kills a part with SIGKILL and waits until the server has started it again. */
  async killPart(folder: string): Promise<void> {
    const before = this.parts(folder);
    for (const pid of before) process.kill(pid, 'SIGKILL');
    await until(() => this.parts(folder).some((pid) => !before.includes(pid)), { timeoutMs: 15_000, what: `${folder} is started again` });
  }
}

/** Resident memory of a process in bytes; 0 when it has ended. */
export function residentBytes(pid: number): number {
  try {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(line?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
