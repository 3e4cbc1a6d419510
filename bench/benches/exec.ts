import { join } from 'node:path';
import { isPeer, type Peer } from '../peers/peer.ts';
import { startWebhook } from '../peers/webhook.ts';
import { type BenchReport, compare, type Promised } from '../report/comparison.ts';
import { interleave } from '../report/rounds.ts';
import { MAIN_REGION } from '../stage/platform.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Bench, BenchContext } from './bench.ts';
import { untilAnswered } from './warm-up.ts';

/** More than the cores of most machines: spawning waits for the kernel. */
const CONCURRENCY = 8;
const PLUGINS = join(import.meta.dirname, '..', 'plugins');
const OURS = 'triggerFS';
const PROMISES: Readonly<Record<string, Promised>> = {
  'bare spawn': { direction: 'at least', limit: 0.9, of: 'ratio' },
  webhook: { direction: 'at least', limit: 1, of: 'ratio' },
};

/** Running /bin/true: as an exec plugin, in a bare loop of child_process.spawn, and by adnanh/webhook over HTTP. */
export const exec: Bench = {
  name: 'exec',
  doc: 'an exec plugin against a bare spawn loop and adnanh/webhook',
  async run(context: BenchContext): Promise<BenchReport> {
    const { stage } = context;
    const program = stage.find('true');
    if (program === null) throw new Error('there is no program true');
    const bare: Peer = { name: 'bare spawn', load: await RoleProcess.start(stage, 'spawn-loop', { program }), pids: [] };
    const found = [await startOurs(context), bare, await startWebhook(stage, program)];
    const peers = found.filter(isPeer);
    const measured = await interleave(
      peers.map((peer) => ({ name: peer.name, measure: () => measure(peer, stage.settings.seconds) })),
      stage.settings.rounds,
      (text) => stage.progress(`exec: ${text}`),
    );
    const ours = measured.get(OURS) ?? [];
    return {
      comparisons: [...measured]
        .filter(([name]) => name !== OURS)
        .map(([name, rounds]) =>
          compare(`exec /bin/true, ${CONCURRENCY} at once`, 'per second', ours, { name, rounds }, PROMISES[name] ?? null),
        ),
      skipped: found.flatMap((peer) => (isPeer(peer) ? [] : [{ what: `exec against ${peer.name}`, reason: peer.missing }])),
      notes: [],
    };
  },
};

async function startOurs({ stage, platform }: BenchContext): Promise<Peer> {
  const started = await platform();
  const content = await started.team('exec');
  const [login] = await content.service('exec-service', ['exec-worker']);
  if (login === undefined) throw new Error('no worker was made');
  await started.mainBroker();
  started.worker(content, login, MAIN_REGION, { concurrency: CONCURRENCY, plugins: PLUGINS });
  const load = await RoleProcess.start(stage, 'triggerfs-requester', {
    api: started.api,
    ...content.account,
    service: 'exec-service',
    plugin: 'true',
    region: MAIN_REGION,
  });
  await untilAnswered(load, 0);
  return { name: OURS, load, pids: [] };
}

async function measure({ name, load }: Peer, seconds: number): Promise<number> {
  const result = await load.load({ window: CONCURRENCY, ms: seconds * 1000, payloadBytes: 0 });
  if (result.failures > 0)
    throw new Error(`${name}: ${result.failures} of ${result.requests} failed, the first with: ${result.firstFailure}`);
  return result.perSecond;
}
