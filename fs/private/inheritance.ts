import { rmdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { Log } from '../../runtime/logging.ts';
import { detach, isOurs } from '../mountpoint.ts';
import { LeftSpool } from '../spool/left-spool.ts';
import type { Spool } from '../spool/spool.ts';
import { Place, type SpoolOwner } from './place.ts';

/** How often is looked for what other processes have left. */
const LOOK_MS = 2_000;

/** A spool that was left; `NOTHING` where a process ended before it had one. */
type Left = Pick<LeftSpool, 'isEmpty' | 'next' | 'drop' | 'close'>;
const NOTHING: Left = { isEmpty: true, next: () => [], drop: () => undefined, close: () => undefined };

/** Options of an inheritance. */
export interface InheritanceOptions {
  /** Folder of all private mounts of this person. */
  readonly root: string;
  readonly owner: SpoolOwner;
  /** Folder of the own place. */
  readonly own: string;
  readonly spool: Spool;
  readonly log: Log;
}

/**
 * What private mounts leave that were killed, or ended without an answer to everything: dead mounts go, and messages of the same
 * person in the same team are sent by this process. Locks tell who lives, so a living mount is never touched.
 */
export class Inheritance {
  readonly #options: InheritanceOptions;
  /** Places that cannot be cleaned up, and why: said once. */
  readonly #complaints = new Map<string, string>();
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<number> | null = null;
  #stopped = false;

  constructor(options: InheritanceOptions) {
    this.#options = options;
  }

  /** Looks for what is there now and returns how many messages were taken over. */
  look(): Promise<number> {
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  /** Goes on looking: processes end at any time. */
  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
    this.#timer.unref();
  }

  /** Takes nothing more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  async #lookAtAll(): Promise<number> {
    let messages = 0;
    for (const folder of Place.all(this.#options.root)) {
      if (this.#stopped) break;
      if (folder === this.#options.own) continue;
      try {
        messages += await this.#lookAt(folder);
        this.#complaints.delete(folder);
      } catch (err) {
        const { message } = err as Error;
        if (this.#complaints.get(folder) !== message) this.#options.log.warn({ err }, `cannot take over ${folder}`);
        this.#complaints.set(folder, message);
      }
    }
    return messages;
  }

  async #lookAt(folder: string): Promise<number> {
    const place = Place.seize(folder);
    if (place === null) return 0;
    try {
      // Messages of others stay; opening their spool again and again would cost the disk.
      if (place.mountpoint === null && !place.isOf(this.#options.owner)) return 0;
      const [folder] = place.spools;
      const spool = folder === undefined ? NOTHING : LeftSpool.open(folder);
      // Its supervisor was killed; the mounting process is about to end.
      return spool === null ? 0 : await this.#takeOver(place, spool);
    } finally {
      place.release();
    }
  }

  async #takeOver(place: Place, spool: Left): Promise<number> {
    let messages = 0;
    let empty: boolean;
    try {
      await clearMount(place);
      if (place.isOf(this.#options.owner)) messages = await this.#take(spool);
      empty = spool.isEmpty;
    } finally {
      spool.close();
    }
    if (empty) place.remove();
    return messages;
  }

  async #take(left: Left): Promise<number> {
    let messages = 0;
    for (let batch = left.next(); batch.length > 0 && !this.#stopped; batch = left.next()) {
      // Should this process die in between, they are in both: a worker knows their ids.
      this.#options.spool.adopt(batch);
      left.drop(batch);
      messages += batch.length;
      await setImmediate();
    }
    return messages;
  }
}

/** Removes the mount of a place whose processes have ended, also while somebody sits in it, and its folder. */
export async function clearMount(place: Place): Promise<void> {
  const { mountpoint } = place;
  if (mountpoint === null) return;
  if (isOurs(mountpoint)) await detach(mountpoint, true);
  try {
    rmdirSync(mountpoint);
  } catch {
    // It is gone already, or somebody uses the folder for something else.
  }
  place.forgetMount();
}
