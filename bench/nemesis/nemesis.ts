import { setTimeout as sleep } from 'node:timers/promises';
import { randomNumbers } from '../../test/support/random.ts';
import { Ground } from './ground.ts';
import { audit, type Findings } from './ledger.ts';
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
}

const WARM_UP_MS = 60_000;
const POLL_MS = 200;

/**
 * Accepts invocations while processes are killed at random, waits until nothing is open, and compares what was accepted with what
 * was executed. The same seed kills the same processes after the same pauses.
 */
export async function runNemesis(settings: NemesisSettings, progress: (text: string) => void): Promise<NemesisReport> {
  progress('starting');
  const ground = await Ground.start(settings);
  const producer = new Producer(ground);
  try {
    await warmUp(ground, producer);
    const killing = kill(ground.victims, settings, progress);
    const [kills] = await Promise.all([killing, producer.run(settings.items, settings.kills * settings.pauseMs)]);
    const last = performance.now();
    await drain(ground, settings.drainMs, progress);
    const drainedS = Math.round((performance.now() - last) / 100) / 10;
    return { ...audit(producer.accepted, ground.executed(), await ground.ledger(), settings.kills), seed: settings.seed, kills, drainedS };
  } finally {
    await producer.stop();
    await ground.stop();
  }
}

/** The first item tells that everybody is there. */
async function warmUp(ground: Ground, producer: Producer): Promise<void> {
  await producer.warmUp();
  for (const end = performance.now() + WARM_UP_MS; (await ground.open()) > 0; await sleep(POLL_MS)) {
    if (performance.now() > end) throw new Error('the first invocation does not end');
  }
}

async function kill(
  victims: readonly Victim[],
  settings: NemesisSettings,
  progress: (text: string) => void,
): Promise<Record<string, number>> {
  const random = randomNumbers(settings.seed);
  const kinds = [...new Set(victims.map(({ kind }) => kind))];
  const counts: Record<string, number> = Object.fromEntries(kinds.map((kind) => [kind, 0]));
  for (let n = 1; n <= settings.kills; n += 1) {
    await sleep(settings.pauseMs / 2 + random(settings.pauseMs));
    const kind = kinds[random(kinds.length)] as string;
    const some = victims.filter((victim) => victim.kind === kind);
    const victim = some[random(some.length)] as Victim;
    progress(`kill ${n} of ${settings.kills}: ${victim.name}`);
    await victim.kill();
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

async function drain(ground: Ground, limitMs: number, progress: (text: string) => void): Promise<void> {
  for (const end = performance.now() + limitMs; performance.now() < end; await sleep(POLL_MS)) {
    const open = await ground.open().catch(() => -1);
    if (open === 0) return;
    progress(`${open < 0 ? 'unknown' : open} open`);
  }
}
