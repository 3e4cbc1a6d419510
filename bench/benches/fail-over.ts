import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchReport, compare } from '../report/comparison.ts';
import { quantile } from '../report/statistics.ts';
import type { BrokerProcess } from '../stage/platform.ts';
import { cpuSeconds } from '../stage/processes.ts';
import { RoleProcess } from '../stage/role.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';
import { untilAnswered } from './warm-up.ts';

const REGION = 'fail-over';
const BROKERS = 3;
const WINDOW = 16;
const PAYLOAD_BYTES = 128;
/** A kill comes this long after the load began, and the load goes on this long in all. */
const KILL_AFTER_MS = 700;
const LOAD_MS = 2_500;
const KILLS_PER_ROUND = 2;
/** Time for client and worker to find a broker that came back. */
const RECOVERY_MS = 1_500;

/** Three brokers, one of them killed under load: how long the client has no answer. */
export const failOver: Bench = {
  name: 'fail-over',
  doc: 'three brokers, SIGKILL of the busy one: the pause a client sees',
  async run({ stage, platform }: BenchContext): Promise<BenchReport> {
    const started = await platform();
    const content = await started.team('fail-over');
    const [login] = await content.service('fail-over-service', ['fail-over-worker']);
    if (login === undefined) throw new Error('no worker was made');
    const brokers: BrokerProcess[] = [];
    for (let number = 1; number <= BROKERS; number += 1) brokers.push(await started.broker(`fail-over-broker-${number}`, REGION));
    started.worker(content, login, REGION, { concurrency: 64 });
    const target = { api: started.api, ...content.account, service: 'fail-over-service', plugin: 'echo', region: REGION };
    const load = await RoleProcess.start(stage, 'triggerfs-requester', target, 'fail-over-requester');
    await untilAnswered(load, PAYLOAD_BYTES);
    const pauses: number[] = [];
    let failures = 0;
    const kills = stage.settings.rounds * KILLS_PER_ROUND;
    for (let kill = 1; kill <= kills; kill += 1) {
      stage.progress(`fail-over: kill ${kill} of ${kills}`);
      const result = load.load({ window: WINDOW, ms: LOAD_MS, payloadBytes: PAYLOAD_BYTES });
      const victim = await busiest(brokers, KILL_AFTER_MS);
      victim.program.kill();
      const { longestPauseMs, failures: failed } = await result;
      pauses.push(longestPauseMs);
      failures += failed;
      await victim.restart();
      await sleep(RECOVERY_MS);
      await until('an answer after the restart', async () => (await load.load({ window: 1, ms: 50, payloadBytes: 8 })).failures === 0);
    }
    pauses.sort((a, b) => a - b);
    const p99 = quantile(pauses, 0.99);
    return {
      comparisons: [
        compare(`fail-over pause, p99 of ${kills} kills`, 'milliseconds', [p99], null, { direction: 'at most', limit: 1000, of: 'figure' }),
        compare(`fail-over pause, median`, 'milliseconds', [quantile(pauses, 0.5)], null, null),
      ],
      skipped: [],
      notes: [`fail-over: ${failures} requests ended without their echo (started runs of a lost broker may)`],
    };
  },
};

/** The broker that used most CPU in the meantime: the one that the client's requests go through. */
async function busiest(brokers: readonly BrokerProcess[], ms: number): Promise<BrokerProcess> {
  const before = brokers.map(({ program }) => cpuSeconds(program.pid));
  await sleep(ms);
  const used = brokers.map(({ program }, index) => cpuSeconds(program.pid) - (before[index] as number));
  return brokers[used.indexOf(Math.max(...used))] as BrokerProcess;
}
