import { setTimeout as sleep } from 'node:timers/promises';
import { randomNumbers } from '../../test/support/random.ts';
import { Ground } from './ground.ts';
import { audit, type Findings, suspects } from './ledger.ts';
import { Pace } from './pace.ts';
import { Producer } from './producer.ts';
import type { NemesisSettings } from './settings.ts';
import type { Victim } from './victim.ts';

/** What one run did and found. */
export interface NemesisReport extends Findings {
  readonly seed: number;
  /** How often each kind was killed. */
  readonly kills: Readonly<Record<string, number>>;
  /** From the last kill until nothing was open, in seconds. */
  readonly drainedS: number;
  /** What the database knows of the first keys with which something is wrong. */
  readonly stories: readonly string[];
}

const WARM_UP_MS = 60_000;
const POLL_MS = 200;
/** How long a kill waits for runs since the last one, so that it meets a system at work; with everything down there are none. */
const AT_WORK_MS = 5_000;
/** This part of what is accepted between two kills. */
const AT_WORK = 0.25;
const STORIES = 10;

/**
 * Accepts invocations while processes are killed at random, waits until nothing is open, and compares what was accepted with what
 * was executed. The same seed kills the same processes in the same order.
 */
export async function runNemesis(settings: NemesisSettings, progress: (text: string) => void): Promise<NemesisReport> {
  progress('starting');
  const ground = await Ground.start(settings);
  const producer = new Producer(ground);
  try {
    await producer.warmUp();
    await drain(ground, producer, WARM_UP_MS, () => undefined);
    if (missing(ground, producer) > 0) throw new Error('the first invocations do not end');
    const pace = new Pace(settings.kills, settings.pauseMs);
    const [kills] = await Promise.all([kill(ground, settings, pace, progress), producer.run(settings.items, pace)]);
    const last = performance.now();
    await drain(ground, producer, settings.drainMs, progress);
    const drainedS = Math.round((performance.now() - last) / 100) / 10;
    const { queued, written, uncertain } = producer;
    const found = audit({ queued, written, uncertain, executed: ground.executed(), rows: await ground.ledger(), kills: settings.kills });
    const stories = await ground.stories(suspects(found).slice(0, STORIES));
    return { ...found, seed: settings.seed, kills, drainedS, stories };
  } finally {
    await producer.stop();
    await ground.stop();
  }
}

async function kill(
  ground: Ground,
  settings: NemesisSettings,
  pace: Pace,
  progress: (text: string) => void,
): Promise<Record<string, number>> {
  const random = randomNumbers(settings.seed);
  const kinds = [...new Set(ground.victims.map(({ kind }) => kind))].filter((kind) => settings.victims?.includes(kind) ?? true);
  const counts: Record<string, number> = Object.fromEntries(kinds.map((kind) => [kind, 0]));
  const least = (AT_WORK * settings.items) / settings.kills;
  for (let n = 1; n <= settings.kills; n += 1) {
    const before = ground.executions();
    await sleep(settings.pauseMs / 2 + random(settings.pauseMs));
    for (const end = performance.now() + AT_WORK_MS; ground.executions() - before < least && performance.now() < end; ) await sleep(20);
    const kind = kinds[random(kinds.length)] as string;
    const some = ground.victims.filter((victim) => victim.kind === kind);
    const victim = some[random(some.length)] as Victim;
    progress(`kill ${n} of ${settings.kills}: ${victim.name}`);
    await victim.kill();
    pace.killed();
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Waits until nothing is open in the queue, and what trigger files took was executed. */
async function drain(ground: Ground, producer: Producer, limitMs: number, progress: (text: string) => void): Promise<void> {
  for (const end = performance.now() + limitMs; performance.now() < end; await sleep(POLL_MS)) {
    const open = await ground.open().catch(() => -1);
    if (open === 0 && missing(ground, producer) === 0) return;
    progress(`${open < 0 ? 'unknown' : open} open`);
  }
}

function missing(ground: Ground, { queued, written }: Producer): number {
  const executed = new Set(ground.executed());
  return [...queued, ...written].filter((key) => !executed.has(key)).length;
}
