import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { migrate } from '../../migrations/runner.ts';
import { Acceptor } from '../../runtime/acceptance/acceptor.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { MasterKey, TeamKeys } from '../../runtime/sealing/index.ts';
import { type BenchReport, compare } from '../report/comparison.ts';
import { interleave } from '../report/rounds.ts';
import type { Stage } from '../stage/stage.ts';
import type { Bench, BenchContext } from './bench.ts';

const OURS = 'triggerFS';
const BARE = 'pg-boss insert';
const BARE_QUEUE = 'bare';
const PAYLOAD_BYTES = 128;
/** Callers that wait for their commit at the same time; bare batches hold as many jobs. */
const WINDOW = 400;
const BATCHES = 2;
const CONNECTIONS = 4;

/**
 * Accepting for later: each caller of ours waits for its own commit, which it shares with the others that wait; its payload is
 * sealed. The bare side inserts ready-made batches into a queue of pg-boss. PostgreSQL writes to the disk in earnest.
 */
export const durable: Bench = {
  name: 'durable',
  doc: 'accepting for later against bare batches of pg-boss',
  async run({ stage }: BenchContext): Promise<BenchReport> {
    const url = await startDatabase(stage);
    const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS });
    stage.add('connections', () => pool.end());
    const accept = await acceptor(stage, pool);
    const insert = await bareQueue(stage, url);
    const ms = stage.settings.seconds * 1000;
    const clear = async (): Promise<void> => {
      await pool.query(`truncate triggerfs.queue_items cascade; delete from pgboss.job`);
      await pool.query('vacuum pgboss.job');
    };
    const measured = await interleave(
      [
        { name: OURS, measure: async () => clear().then(() => perSecond(ms, WINDOW, 1, accept)) },
        { name: BARE, measure: async () => clear().then(() => perSecond(ms, BATCHES, WINDOW / BATCHES, insert)) },
      ],
      stage.settings.rounds,
      (text) => stage.progress(`durable: ${text}`),
    );
    const rounds = measured.get(BARE) ?? [];
    const promised = { direction: 'at least', limit: 0.8, of: 'ratio' } as const;
    const what = `durable accept, ${PAYLOAD_BYTES} B, ${WINDOW} waiting`;
    return {
      comparisons: [compare(what, 'per second', measured.get(OURS) ?? [], { name: BARE, rounds }, promised)],
      skipped: [],
      notes: [],
    };
  },
};

/** One that waits for its disk at each commit, which the one of the other benchmarks does not. */
async function startDatabase(stage: Stage): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'triggerfs-bench-durable-'));
  stage.add('database folder', () => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const postgres = await EmbeddedPostgres.start({ dataDir: folder, port: 0, log: silentLogger() });
  stage.add('PostgreSQL', () => postgres.stop());
  await migrate({ url: postgres.url });
  return postgres.url;
}

async function acceptor(stage: Stage, pool: pg.Pool): Promise<() => Promise<unknown>> {
  const { rows } = await pool.query<{ id: number }>(`insert into triggerfs.teams (name) values ('durable') returning id`);
  const team = (rows[0] as { id: number }).id;
  const keys = new TeamKeys(pool, await MasterKey.load(join(stage.folder, 'durable.key'), pool));
  const accepting = new Acceptor({ pool, keys });
  const item = { team, source: 'api', caller: 'bench', service: 'service', plugin: 'echo', payload: randomBytes(PAYLOAD_BYTES) } as const;
  return () => accepting.accept(item);
}

async function bareQueue(stage: Stage, url: string): Promise<() => Promise<unknown>> {
  const boss = new PgBoss({ connectionString: url, max: CONNECTIONS, migrate: false, supervise: false, schedule: false });
  boss.on('error', () => undefined);
  await boss.start();
  stage.add('pg-boss', () => boss.stop({ graceful: false }));
  await boss.createQueue(BARE_QUEUE);
  const data = { team: 1, service: 'service', plugin: 'echo', payload: randomBytes(PAYLOAD_BYTES).toString('base64') };
  return () =>
    boss.insert(
      BARE_QUEUE,
      Array.from({ length: WINDOW / BATCHES }, () => ({ data })),
    );
}

/** Works for a while with so many callers at once; each call counts for `weight`. */
async function perSecond(ms: number, callers: number, weight: number, work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  let done = 0;
  const call = async (): Promise<void> => {
    while (performance.now() - started < ms) {
      await work();
      done += weight;
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return (done * 1000) / (performance.now() - started);
}
