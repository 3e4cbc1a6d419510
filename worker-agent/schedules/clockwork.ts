import cron, { type ScheduledTask } from 'node-cron';
import type { Keeper } from './keeper.ts';

/** Longest time without a look at what is due, whatever the timers say. */
const LOOK_MS = 60_000;
/** How long after a slot that node-cron should have rung for it is looked at all the same. */
const SPARE_MS = 250;
const SILENT = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };

/**
 * What wakes the schedules: node-cron at the slots of cron expressions, a timer for everything it does not know
 * (periods, single times, jitter, the hour that is repeated in autumn), and a look every minute for clocks that were moved and
 * machines that slept. It only rings: what is due then is decided by the keepers.
 */
export class Clockwork {
  readonly #ring: () => void;
  readonly #tasks = new Map<number, ScheduledTask>();
  #timer: NodeJS.Timeout | null = null;
  #ringing: NodeJS.Immediate | null = null;
  #stopped = false;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Rings for a schedule from now on; a definition that was there before is replaced. */
  add({ definition }: Keeper): void {
    this.remove(definition.schedule);
    if (definition.cron === null || !cron.validate(definition.cron)) return;
    const task = cron.createTask(definition.cron, this.wake, {
      timezone: definition.timezone,
      logger: SILENT,
      suppressMissedWarning: true,
    });
    task.on('execution:missed', this.wake);
    this.#tasks.set(definition.schedule, task);
    void task.start();
  }

  /** Rings no more for a schedule. */
  remove(schedule: number): void {
    // Without this node-cron keeps the task in a table of its own for ever.
    void this.#tasks.get(schedule)?.destroy();
    this.#tasks.delete(schedule);
  }

  /** Sets the timer to the next slot of these. */
  arm(keepers: Iterable<Keeper>): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    let at = Date.now() + LOOK_MS;
    for (const { definition, nextAt } of keepers) {
      const rung = this.#tasks.has(definition.schedule) && definition.offsetMs === 0;
      at = Math.min(at, rung ? nextAt + SPARE_MS : nextAt);
    }
    if (!this.#stopped) this.#timer = setTimeout(this.wake, Math.max(at - Date.now(), 1));
  }

  /** Rings soon, once for all calls until then. */
  readonly wake = (): void => {
    if (this.#stopped) return;
    this.#ringing ??= setImmediate(() => {
      this.#ringing = null;
      this.#ring();
    });
  };

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#ringing !== null) clearImmediate(this.#ringing);
    for (const schedule of [...this.#tasks.keys()]) this.remove(schedule);
  }
}
