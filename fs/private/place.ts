import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TriggerFsError } from '../../protocol/errors.ts';
import { FileLock } from '../../runtime/sqlite/file-lock.ts';
import { isDiskFull } from '../spool/files.ts';

const LOCK = 'owner.lock';
const MOUNT = 'mountpoint';
const SPOOL = 'spool';
/** Time of its making and a random part: no name comes twice. */
const NAME = /^\d+-[0-9a-f]{8}$/;

/** Whose messages are in a spool. */
export interface SpoolOwner {
  readonly api: string;
  readonly team: string;
  readonly identity: string;
}

/**
 * The folder of one private mount, `ROOT/OWNER/NAME/`: its spool, the path where it is mounted, and a lock that its
 * supervisor holds as long as it lives. A place whose lock is free was left by a process that could not clean up.
 *
 * being made (hidden name) → in use (locked) → left (lock free: seized by another process) → removed (hidden name, then gone)
 */
export class Place {
  /** Absolute path. */
  readonly folder: string;
  #lock: FileLock | null;

  private constructor(folder: string, lock: FileLock) {
    this.folder = folder;
    this.#lock = lock;
  }

  /** Makes one, which nobody else may read. @throws TriggerFsError TFS_SPOOL_FULL when the disk is full, TFS_CONFIG */
  static make(root: string, owner: SpoolOwner, mountpoint: string): Place {
    const folder = join(root, ownerName(owner), `${Date.now()}-${randomBytes(4).toString('hex')}`);
    const fresh = hidden(folder);
    try {
      mkdirSync(fresh, { recursive: true, mode: 0o700 });
      writeFileSync(join(fresh, MOUNT), mountpoint, { mode: 0o600 });
      const lock = lockOf(fresh);
      // Nobody sees it before it is locked.
      renameSync(fresh, folder);
      return new Place(folder, lock);
    } catch (cause) {
      rmSync(fresh, { recursive: true, force: true });
      const code = isDiskFull(cause) ? 'TFS_SPOOL_FULL' : 'TFS_CONFIG';
      throw new TriggerFsError(code, `cannot make a spool in ${root}: ${(cause as Error).message}`, { cause });
    }
  }

  /** Takes a place whose supervisor has ended; null while that lives, and when another process was faster. */
  static seize(folder: string): Place | null {
    if (!existsSync(folder)) return null;
    let lock: FileLock;
    try {
      lock = lockOf(folder);
    } catch {
      return null;
    }
    // Who removes a place hides it first.
    if (existsSync(folder)) return new Place(folder, lock);
    lock.release();
    return null;
  }

  /** Folders of all places below a root, oldest first. */
  static all(root: string): string[] {
    return namesIn(root).flatMap((owner) =>
      namesIn(join(root, owner))
        .filter((name) => NAME.test(name))
        .toSorted()
        .map((name) => join(root, owner, name)),
    );
  }

  /** Where its mount is; null when that was cleaned up. */
  get mountpoint(): string | null {
    try {
      return readFileSync(join(this.folder, MOUNT), 'utf8');
    } catch {
      return null;
    }
  }

  /** Folder for spools: one for each team. */
  get spool(): string {
    return join(this.folder, SPOOL);
  }

  /** The spools in it. */
  get spools(): string[] {
    return namesIn(this.spool).map((team) => join(this.spool, team));
  }

  /** Whether its messages are those of the same person in the same team. */
  isOf(owner: SpoolOwner): boolean {
    return basename(dirname(this.folder)) === ownerName(owner);
  }

  /** Notes that its mount is gone. */
  forgetMount(): void {
    rmSync(join(this.folder, MOUNT), { force: true });
  }

  /** Removes it with everything in it. */
  remove(): void {
    const doomed = hidden(this.folder);
    renameSync(this.folder, doomed);
    rmSync(doomed, { recursive: true, force: true });
    this.release();
  }

  /** Leaves it to the next process. Releasing twice does nothing. */
  release(): void {
    this.#lock?.release();
    this.#lock = null;
  }
}

function ownerName({ api, team, identity }: SpoolOwner): string {
  return createHash('sha256')
    .update(JSON.stringify([api, team, identity]))
    .digest('hex')
    .slice(0, 32);
}

function lockOf(folder: string): FileLock {
  return FileLock.take(join(folder, LOCK), { inUse: `${folder} is in use by another triggerfs process`, waitMs: 0 });
}

function hidden(folder: string): string {
  return join(dirname(folder), `.${basename(folder)}`);
}

/** Nothing in a folder that is missing, or was removed by another process a moment ago. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
