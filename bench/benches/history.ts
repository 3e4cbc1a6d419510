import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type BenchReport, type Comparison, compare, type Promised } from '../report/comparison.ts';
import { interleave } from '../report/rounds.ts';
import type { ChatterFigures } from '../roles/chatter-requester.ts';
import type { HistoryCommand, HistoryFigures } from '../roles/history-writer.ts';
import type { Content } from '../stage/content.ts';
import { MAIN_REGION, type Platform } from '../stage/platform.ts';
import { cpuSeconds, residentMiB } from '../stage/processes.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Stage } from '../stage/stage.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';

const RUNS = 200;
const PER_SECOND = 100;
const BYTES = 120;
/** The steady load lasts this long at least; a longer `-seconds` counts for it: 60 is the minute that is promised. */
const STEADY_SECONDS = 10;
/** Rounds of the writer and of the bare insert are no longer than this: there are eighteen of them, and none is steadier for being long. */
const ROUND_SECONDS = 1.5;
const STORED_MS = 60_000;
const SETTLE_MS = 1_000;
const WATCH_MS = 250;
const TELL_EVERY = 20;
const KEEPS_UP: Promised = { direction: 'at least', limit: 0.8, of: 'ratio' };

interface Steady {
  readonly chunks: number;
  readonly perSecond: number;
  readonly megabytes: number;
  readonly caughtUpMs: number;
  /** Highest resident memory of the broker, in MiB. */
  readonly memory: number;
  /** CPU time of the broker, in microseconds for each piece. */
  readonly cpu: number;
  /** Blocks that say that output before them is missing. */
  readonly gaps: number;
}

/** The history: how fast it is written beside a bare bulk insert, and a broker that keeps 20,000 pieces of output a second. */
export const history: Bench = {
  name: 'history',
  doc: `output kept by a broker: ${RUNS * PER_SECOND} pieces a second, and the writer beside a bare bulk insert`,
  async run(context: BenchContext): Promise<BenchReport> {
    const platform = await context.platform();
    const content = await platform.team('history');
    const sql = new pg.Client({ connectionString: platform.databaseUrl });
    await sql.connect();
    context.stage.add('history database', () => sql.end());
    const stored = await measureWriter(context.stage, platform, sql);
    const steady = await measureBroker(context.stage, platform, content, sql);
    return report(stored, steady);
  },
};

/** The writer alone, as fast as it can, beside the same pieces in bulk inserts of a row each. */
async function measureWriter(stage: Stage, platform: Platform, sql: pg.Client): Promise<Map<string, HistoryFigures[]>> {
  const { rows } = await sql.query<{ id: number }>(`select id from triggerfs.teams where name = 'history'`);
  const team = (rows[0] as { id: number }).id;
  const writer = await RoleProcess.start(stage, 'history-writer', {
    databaseUrl: platform.databaseUrl,
    masterKey: join(stage.folder, '.triggerfs', 'master.key'),
    team,
  });
  const store = async (how: HistoryCommand['how'], single: boolean): Promise<HistoryFigures> => {
    const command: HistoryCommand = { how, single, ms: Math.min(stage.settings.seconds, ROUND_SECONDS) * 1000, runs: RUNS, bytes: BYTES };
    return (await writer.call(command)) as HistoryFigures;
  };
  const stored = await interleave(
    [
      { name: 'blocks', measure: () => store('sealed', false) },
      { name: 'single', measure: () => store('sealed', true) },
      { name: 'bare', measure: () => store('bare', false) },
    ],
    stage.settings.rounds,
    (text) => stage.progress(`history: ${text}`),
  );
  await writer.program.stop();
  return stored;
}

/** A broker whose runs write at a steady rate. */
async function measureBroker(stage: Stage, platform: Platform, content: Content, sql: pg.Client): Promise<Steady> {
  const [login] = await content.service('history-service', ['history-worker'], 'output');
  if (login === undefined) throw new Error('no worker was made');
  const broker = await platform.mainBroker();
  platform.worker(content, login, MAIN_REGION, { concurrency: 4096, plugins: join(import.meta.dirname, '..', 'plugins') });
  const load = await RoleProcess.start(stage, 'chatter-requester', {
    api: platform.api,
    ...content.account,
    service: 'history-service',
    plugin: 'chatter',
    region: MAIN_REGION,
  });
  const say = async (runs: number, ms: number): Promise<ChatterFigures> =>
    (await load.call({ runs, perSecond: PER_SECOND, bytes: BYTES, ms })) as ChatterFigures;
  await until('a good answer', async () => (await say(1, 100)).failures === 0, 30_000);
  const before = await settledBytes(sql);
  const seconds = Math.max(STEADY_SECONDS, stage.settings.seconds);
  const memory: number[] = [];
  const cpu = cpuSeconds(broker.program.pid);
  const began = performance.now();
  const tell = (): void => {
    if (memory.push(residentMiB(broker.program.pid)) % TELL_EVERY !== 1) return;
    const passed = (performance.now() - began) / 1000;
    stage.progress(`history: ${RUNS} runs, ${passed.toFixed(0)} of ${seconds} s, broker at ${memory.at(-1)?.toFixed(0)} MiB`);
  };
  tell();
  const watch = setInterval(tell, WATCH_MS);
  const said = await say(RUNS, seconds * 1000);
  const lasted = (performance.now() - began) / 1000;
  if (said.failures > 0) throw new Error(`${said.failures} of ${RUNS} runs failed, the first with: ${said.firstFailure}`);
  const ended = performance.now();
  await until('everything is stored', async () => (await storedBytes(sql)) - before === said.bytes, STORED_MS);
  const caughtUpMs = performance.now() - ended;
  clearInterval(watch);
  const { rows } = await sql.query<{ gaps: number }>('select count(*)::integer as gaps from triggerfs.outputs where gap');
  return {
    chunks: said.chunks,
    perSecond: said.chunks / lasted,
    megabytes: said.bytes / 1e6,
    caughtUpMs,
    memory: Math.max(...memory),
    cpu: ((cpuSeconds(broker.program.pid) - cpu) * 1e6) / said.chunks,
    gaps: rows[0]?.gaps ?? 0,
  };
}

async function storedBytes(sql: pg.Client): Promise<number> {
  const { rows } = await sql.query<{ bytes: number }>('select coalesce(sum(bytes), 0)::float8 as bytes from triggerfs.outputs');
  return rows[0]?.bytes ?? 0;
}

/** What is stored once the first runs are. */
async function settledBytes(sql: pg.Client): Promise<number> {
  let last = -1;
  await until(
    'the first runs are stored',
    async () => {
      const before = last;
      await sleep(SETTLE_MS);
      last = await storedBytes(sql);
      return last === before;
    },
    STORED_MS,
  );
  return last;
}

function report(stored: ReadonlyMap<string, readonly HistoryFigures[]>, steady: Steady): BenchReport {
  const values = (name: string, key: 'chunksPerSecond' | 'rowsPerSecond'): number[] => (stored.get(name) ?? []).map((round) => round[key]);
  const bare = { name: 'bare unnest insert', rounds: values('bare', 'chunksPerSecond') };
  const comparisons: Comparison[] = [
    compare(`history: pieces of ${BYTES} B of ${RUNS} runs`, 'per second', values('blocks', 'chunksPerSecond'), bare, KEEPS_UP),
    compare('history: one piece for each invocation', 'per second', values('single', 'chunksPerSecond'), bare, null),
    compare('history: rows of those (three for each)', 'per second', values('single', 'rowsPerSecond'), bare, null),
    compare(`history: steady ${RUNS} × ${PER_SECOND} pieces, through a broker`, 'per second', [steady.perSecond], null, {
      direction: 'at least',
      limit: RUNS * PER_SECOND * 0.95,
      of: 'figure',
    }),
    compare('history: memory of that broker, highest', 'mebibytes', [steady.memory], null, {
      direction: 'at most',
      limit: 256,
      of: 'figure',
    }),
    compare('history: pieces of that which are missing', 'count', [steady.gaps], null, { direction: 'at most', limit: 0, of: 'figure' }),
  ];
  const { chunks, megabytes, caughtUpMs, cpu } = steady;
  return {
    comparisons,
    skipped: [],
    notes: [
      `history: ${chunks} pieces (${megabytes.toFixed(1)} MB) through the broker; all of them stored ${caughtUpMs.toFixed(0)} ms after the last; its CPU ${cpu.toFixed(1)} µs each`,
    ],
  };
}
