import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { libfuseEnvironment } from '../../fs/libfuse.ts';
import { migrate } from '../../migrations/runner.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { Content, type WorkerLogin } from './content.ts';
import type { Program } from './program.ts';
import type { Stage } from './stage.ts';
import { writeToml } from './toml.ts';

/** Region of the broker that most benchmarks share. */
export const MAIN_REGION = 'main';

/** A broker of the stage. */
export interface BrokerProcess {
  readonly name: string;
  program: Program;
  readonly endpoint: string;
  /** Starts it again on the same port, with the same key. */
  restart(): Promise<void>;
}

/**
 * triggerFS as it runs in earnest: PostgreSQL, control-plane, brokers, workers and mounts, a process each, from the sources.
 * Benchmarks that need brokers of their own use a region of their own.
 */
export class Platform {
  readonly api: string;
  readonly databaseUrl: string;
  /** The first control-plane. */
  readonly controlPlaneProcess: Program;
  readonly #stage: Stage;
  #mainBroker: Promise<BrokerProcess> | null = null;

  private constructor(stage: Stage, databaseUrl: string, controlPlane: Program, api: string) {
    this.#stage = stage;
    this.databaseUrl = databaseUrl;
    this.controlPlaneProcess = controlPlane;
    this.api = api;
  }

  /** Starts database and control-plane. */
  static async start(stage: Stage): Promise<Platform> {
    stage.progress('PostgreSQL and control-plane');
    // PostgreSQL runs as another user when we are root, who could not enter the stage's folder.
    const folder = await mkdtemp(join(tmpdir(), 'triggerfs-bench-postgres-'));
    stage.add('database folder', () => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    const postgres = await EmbeddedPostgres.start({ dataDir: folder, port: 0, log: silentLogger(), fsync: false });
    stage.add('PostgreSQL', () => postgres.stop());
    await migrate({ url: postgres.url });
    const controlPlane = startControlPlane(stage, 'control-plane', postgres.url);
    const { url } = await controlPlane.ready();
    return new Platform(stage, postgres.url, controlPlane, url as string);
  }

  /** Starts another control-plane on the same database, with the same master key. */
  async controlPlane(name: string): Promise<Program> {
    const program = startControlPlane(this.#stage, name, this.databaseUrl);
    await program.ready();
    return program;
  }

  /** Makes a team with one user. */
  async team(name: string): Promise<Content> {
    const content = await Content.create(this.databaseUrl, name);
    this.#stage.add(`content of ${name}`, () => content.close());
    return content;
  }

  /** The broker that benchmarks share; started on first use. */
  mainBroker(): Promise<BrokerProcess> {
    this.#mainBroker ??= this.broker('broker', MAIN_REGION);
    return this.#mainBroker;
  }

  /** Starts a broker in a region. */
  async broker(name: string, region: string): Promise<BrokerProcess> {
    const start = async (port: number): Promise<{ program: Program; endpoint: string }> => {
      const config = writeToml(join(this.#stage.folder, `${name}.toml`), {
        broker: { database: this.databaseUrl, port, gateway_port: 0, region, keyfile: join(this.#stage.folder, `${name}.key`) },
      });
      const program = startPart(this.#stage, name, 'edge-broker', ['-config', config, '-json']);
      const ready = await program.ready();
      return { program, endpoint: ready.broker as string };
    };
    const broker: BrokerProcess = {
      name,
      ...(await start(0)),
      restart: async () => {
        await broker.program.ended;
        broker.program = (await start(Number(new URL(broker.endpoint.replace('tcp:', 'http:')).port))).program;
      },
    };
    return broker;
  }

  /** Starts a worker in a region. Callers find out with a first request when it is there. */
  worker(
    content: Content,
    login: WorkerLogin,
    region: string,
    options: { readonly concurrency: number; readonly plugins?: string },
  ): Program {
    const { team } = content.account;
    const config = writeToml(join(this.#stage.folder, `${login.identity}.toml`), {
      main: { api: this.api, team, region },
      workers: { pluginspath: options.plugins ?? join(packageRoot(), 'plugins'), concurrency: options.concurrency },
      [`workers.${team}.${login.identity}`]: { token: login.token },
    });
    return startPart(this.#stage, login.identity, 'worker-agent', ['-config', config, '-identity', login.identity]);
  }

  /** Mounts the trigger files of a team. */
  async mount(content: Content, name: string, region: string, folder: string): Promise<Program> {
    const { team, identity, secret } = content.account;
    const config = writeToml(join(this.#stage.folder, `${name}.toml`), {
      main: { api: this.api, team, identity, secret, region },
      triggerfs: { mountpoint: folder, spool: this.#stage.subfolder(`${name}-spool`) },
    });
    const env = libfuseEnvironment(this.#stage.folder);
    const program = startPart(this.#stage, name, 'fs', ['-config', config, '-json'], env);
    await program.ready();
    return program;
  }
}

function startControlPlane(stage: Stage, name: string, database: string): Program {
  const config = writeToml(join(stage.folder, 'control-plane.toml'), { 'control-plane': { database, port: 0 } });
  return startPart(stage, name, 'control-plane', ['-config', config, '-json']);
}

function startPart(stage: Stage, name: string, part: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  return stage.startNode(name, [join(packageRoot(), part, 'bin.ts'), ...args], env);
}
