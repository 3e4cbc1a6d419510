import { startGearman } from '../peers/gearman.ts';
import { startNats } from '../peers/nats.ts';
import { isPeer, type Peer } from '../peers/peer.ts';
import { startRelay } from '../peers/relay.ts';
import { type BenchReport, type Comparison, compare, type Promised } from '../report/comparison.ts';
import { interleave } from '../report/rounds.ts';
import { median } from '../report/statistics.ts';
import type { LoadResult } from '../roles/closed-loop.ts';
import { MAIN_REGION } from '../stage/platform.ts';
import { cpuSeconds, descendantsOf } from '../stage/processes.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Bench, BenchContext } from './bench.ts';
import { untilAnswered } from './warm-up.ts';

const PAYLOAD_BYTES = 128;
const WINDOW = 1000;
const OURS = 'triggerFS';
const PROMISES: Readonly<Record<string, Promised>> = {
  NATS: { direction: 'at least', limit: 5, of: 'ratio' },
  'bare relay': { direction: 'at least', limit: 0.5, of: 'ratio' },
};
const LATENCY_PROMISES: Readonly<Record<string, Promised>> = { NATS: { direction: 'at most', limit: 1, of: 'ratio' } };

interface EchoRound extends LoadResult {
  /** Microseconds of CPU for each request, by process. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** Echo of 128 bytes through client, broker, worker and a resident plugin, against other ways to do the same. */
export const echo: Bench = {
  name: 'echo',
  doc: 'echo relay against NATS, the bare packed relay and gearmand',
  async run(context: BenchContext): Promise<BenchReport> {
    const { stage } = context;
    const { seconds, rounds } = stage.settings;
    const found = [await startOurs(context), await startNats(stage), await startRelay(stage), await startGearman(stage)];
    const peers = found.filter(isPeer);
    const run = (window: number) =>
      interleave(
        peers.map((peer) => ({ name: peer.name, measure: () => measure(peer, window, seconds) })),
        rounds,
        (text) => stage.progress(`echo, window ${window}: ${text}`),
      );
    const busy = await run(WINDOW);
    const single = await run(1);
    return {
      comparisons: [
        ...sideBySide(`echo ${PAYLOAD_BYTES} B, window ${WINDOW}`, busy, 'perSecond', PROMISES),
        ...sideBySide('echo one at a time, p50', single, 'p50', LATENCY_PROMISES),
        ...sideBySide('echo one at a time, p99', single, 'p99', {}),
      ],
      skipped: found.flatMap((peer) => (isPeer(peer) ? [] : [{ what: `echo against ${peer.name}`, reason: peer.missing }])),
      notes: peers.map((peer) => cpuNote(peer.name, busy.get(peer.name) ?? [])),
    };
  },
};

async function startOurs({ stage, platform }: BenchContext): Promise<Peer> {
  const started = await platform();
  const content = await started.team('echo');
  const [login] = await content.service('echo-service', ['echo-worker']);
  if (login === undefined) throw new Error('no worker was made');
  const broker = await started.mainBroker();
  const worker = started.worker(content, login, MAIN_REGION, { concurrency: 4096 });
  const load = await RoleProcess.start(stage, 'triggerfs-requester', {
    api: started.api,
    ...content.account,
    service: 'echo-service',
    plugin: 'echo',
    region: MAIN_REGION,
  });
  await untilAnswered(load, PAYLOAD_BYTES);
  const plugins = descendantsOf(worker.pid).map((pid) => ({ name: 'plugin', pid }));
  const pids = [
    { name: 'client', pid: load.program.pid },
    { name: 'broker', pid: broker.program.pid },
    { name: 'worker', pid: worker.pid },
    ...plugins,
  ];
  return { name: OURS, load, pids };
}

async function measure(peer: Peer, window: number, seconds: number): Promise<EchoRound> {
  const before = peer.pids.map(({ pid }) => cpuSeconds(pid));
  const result = await peer.load.load({ window, ms: seconds * 1000, payloadBytes: PAYLOAD_BYTES });
  if (result.failures > 0)
    throw new Error(`${peer.name}: ${result.failures} of ${result.requests} failed, the first with: ${result.firstFailure}`);
  const cpu: Record<string, number> = {};
  peer.pids.forEach(({ name, pid }, index) => {
    cpu[name] = (cpu[name] ?? 0) + ((cpuSeconds(pid) - (before[index] as number)) * 1e6) / result.requests;
  });
  return { ...result, cpu };
}

function sideBySide(
  what: string,
  measured: ReadonlyMap<string, readonly EchoRound[]>,
  key: 'perSecond' | 'p50' | 'p99',
  promises: Readonly<Record<string, Promised>>,
): Comparison[] {
  const values = (name: string): number[] => (measured.get(name) ?? []).map((round) => round[key]);
  const unit = key === 'perSecond' ? 'per second' : 'microseconds';
  return [...measured.keys()]
    .filter((name) => name !== OURS)
    .map((name) => compare(what, unit, values(OURS), { name, rounds: values(name) }, promises[name] ?? null));
}

function cpuNote(name: string, rounds: readonly EchoRound[]): string {
  const parts = Object.keys(rounds[0]?.cpu ?? {}).map(
    (part) => `${part} ${median(rounds.map((round) => round.cpu[part] ?? 0)).toFixed(2)}`,
  );
  return `CPU microseconds for each request at window ${WINDOW}, ${name}: ${parts.join(', ')}`;
}
