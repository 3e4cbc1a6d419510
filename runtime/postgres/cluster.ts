import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, chown, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TriggerFsError } from '../../protocol/errors.ts';
import { environment } from '../environment.ts';
import type { Logger } from '../logging.ts';
import type { Account } from './account.ts';
import type { PostgresBinaries } from './binaries.ts';
import { isAlive } from './ownership.ts';

/** How a cluster runs. */
export interface ClusterOptions {
  /** TCP port on 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  readonly log: Logger;
  /** False only for tests: a power loss may then destroy the data. */
  readonly fsync?: boolean;
}

/** The superuser of every embedded cluster. */
export const SUPERUSER = 'postgres';
const START_ATTEMPTS = 5;

/** initdb and pg_ctl on one folder: creates, starts, adopts and stops a cluster. */
export class Cluster {
  readonly #folder: string;
  readonly #data: string;
  readonly #binaries: PostgresBinaries;
  readonly #account: Account | null;
  readonly #options: ClusterOptions;

  constructor(folder: string, binaries: PostgresBinaries, account: Account | null, options: ClusterOptions) {
    this.#folder = folder;
    this.#data = join(folder, 'data');
    this.#binaries = binaries;
    this.#account = account;
    this.#options = options;
  }

  /** Password of the superuser, made with the folder. @throws TriggerFsError TFS_CONFIG when it was lost */
  async password(): Promise<string> {
    const file = join(this.#folder, 'password');
    const kept = (await readFile(file, 'utf8').catch(() => '')).trim();
    if (kept !== '') return kept;
    if (existsSync(this.#data)) throw new TriggerFsError('TFS_CONFIG', `the file ${file} with the password of the database is missing`);
    const password = randomBytes(24).toString('base64url');
    await writeFile(file, password, { mode: 0o600 });
    if (this.#account !== null) await chown(file, this.#account.uid, this.#account.gid);
    return password;
  }

  /** Creates the cluster beside its place and moves it there, so that a kill in the middle leaves nothing half done. */
  async initialize(): Promise<void> {
    if (existsSync(this.#data)) return;
    const making = `${this.#data}.new`;
    await rm(making, { recursive: true, force: true });
    const options = [
      '--pgdata',
      making,
      '--username',
      SUPERUSER,
      '--pwfile',
      join(this.#folder, 'password'),
      '--auth',
      'scram-sha-256',
      '--encoding',
      'UTF8',
    ];
    options.push('--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--locale', 'C');
    if (this.#options.fsync === false) options.push('--no-sync');
    await this.#run(this.#binaries.initdb, options);
    await appendFile(join(making, 'postgresql.conf'), "\ninclude_if_exists = 'triggerfs.conf'\n");
    await rename(making, this.#data);
  }

  /** Whether the postmaster ended without a clean shutdown: its pid file is there, and no such process. */
  async crashed(): Promise<boolean> {
    return (await this.#pidFile()) !== null && (await this.#postmaster()) === null;
  }

  /** Starts the postmaster, or adopts the running one. Returns its port. */
  async start(wanted: number = this.#options.port): Promise<number> {
    const running = await this.#postmaster();
    if (running !== null && (wanted === 0 || wanted === running.port) && (await this.#isReady())) {
      this.#options.log.info(`using the PostgreSQL that is still running (process ${running.pid})`);
      return running.port;
    }
    if (running !== null) await this.stop();
    for (let attempt = 1; ; attempt += 1) {
      const port = wanted === 0 ? await freePort() : wanted;
      try {
        await this.#configure(port);
        await this.#run(this.#binaries.pgCtl, [
          'start',
          '--pgdata',
          this.#data,
          '--log',
          join(this.#folder, 'postgres.log'),
          '--wait',
          '--timeout',
          '60',
        ]);
        return port;
      } catch (cause) {
        // Someone may take the free port first, and backends of a killed postmaster need a moment to end.
        if (attempt < START_ATTEMPTS) {
          await sleep(200 * attempt);
          continue;
        }
        const tail = (await readFile(join(this.#folder, 'postgres.log'), 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ');
        throw new TriggerFsError(
          'TFS_CONFIG',
          `PostgreSQL does not start in ${this.#folder} on port ${port}: ${tail || (cause as Error).message}`,
          { cause },
        );
      }
    }
  }

  /** Stops the postmaster, if it runs: fast, and at once where that takes too long. */
  async stop(): Promise<void> {
    if ((await this.#postmaster()) === null) return;
    const stop = (mode: string, seconds: string): Promise<void> =>
      this.#run(this.#binaries.pgCtl, ['stop', '--pgdata', this.#data, '--mode', mode, '--wait', '--timeout', seconds]);
    await stop('fast', '8').catch(async (err: unknown) => {
      if ((await this.#postmaster()) === null) return;
      this.#options.log.warn({ err }, 'PostgreSQL does not stop, stopping it at once');
      await stop('immediate', '5');
    });
  }

  async #configure(port: number): Promise<void> {
    const durable = this.#options.fsync !== false;
    const settings = {
      port: String(port),
      listen_addresses: "'127.0.0.1'",
      unix_socket_directories: "''",
      password_encryption: "'scram-sha-256'",
      max_connections: '200',
      timezone: "'UTC'",
      log_timezone: "'UTC'",
      fsync: durable ? 'on' : 'off',
      full_page_writes: durable ? 'on' : 'off',
      synchronous_commit: durable ? 'on' : 'off',
    };
    const file = join(this.#data, 'triggerfs.conf');
    await writeFile(
      file,
      Object.entries(settings)
        .map(([key, value]) => `${key} = ${value}\n`)
        .join(''),
      { mode: 0o600 },
    );
    if (this.#account !== null) await chown(file, this.#account.uid, this.#account.gid);
  }

  async #isReady(): Promise<boolean> {
    const lines = await this.#pidFile();
    return lines?.[7]?.trim() === 'ready';
  }

  /** The living postmaster of this folder. A pid file whose number now belongs to another program is removed. */
  async #postmaster(): Promise<{ pid: number; port: number } | null> {
    const lines = await this.#pidFile();
    if (lines === null) return null;
    const pid = Number(lines[0]);
    if (!(pid > 0) || !isAlive(pid)) return null;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
    if (command !== null && !command.includes(this.#data)) {
      await rm(join(this.#data, 'postmaster.pid'), { force: true });
      return null;
    }
    return { pid, port: Number(lines[3]) };
  }

  async #pidFile(): Promise<string[] | null> {
    const text = await readFile(join(this.#data, 'postmaster.pid'), 'utf8').catch(() => null);
    return text === null ? null : text.split('\n');
  }

  #run(program: string, options: readonly string[]): Promise<void> {
    const account = this.#account ?? {};
    const env = { PATH: environment().path, LC_ALL: 'C', TZ: 'UTC' };
    return new Promise((done, failed) => {
      execFile(program, options, { ...account, env, cwd: '/' }, (error, stdout, stderr) => {
        if (error === null) return done();
        const text = (stderr.trim() || stdout.trim()).split('\n').slice(-3).join(' | ');
        failed(new TriggerFsError('TFS_CONFIG', `${program} ${options[0]} failed: ${text || error.message}`, { cause: error }));
      });
    });
  }
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer();
    server.on('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => done(port));
    });
  });
}
