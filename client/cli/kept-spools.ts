import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Whose messages they are. */
export interface SpoolOwner {
  readonly api: string;
  readonly team: string;
  readonly identity: string;
}

/**
 * Spools of `file` shells that ended before everything was answered. They wait in the person's home, readable by nobody else,
 * until the same person starts a shell in the same team again.
 */
export class KeptSpools {
  readonly #folder: string;

  constructor(home: string, { api, team, identity }: SpoolOwner) {
    const owner = createHash('sha256')
      .update(JSON.stringify([api, team, identity]))
      .digest('hex')
      .slice(0, 32);
    this.#folder = join(home, '.local', 'state', 'triggerfs', 'spools', owner);
  }

  /** Moves the oldest kept spool to `folder`, which must not exist; false when there is none. */
  take(folder: string): boolean {
    for (const name of this.#names()) {
      try {
        move(join(this.#folder, name), folder);
        return true;
      } catch (error) {
        // Another shell was faster.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    return false;
  }

  /** Moves a spool here, when nobody uses it any more. */
  keep(folder: string): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    move(folder, join(this.#folder, `${Date.now()}-${randomBytes(4).toString('hex')}`));
  }

  #names(): string[] {
    return existsSync(this.#folder)
      ? readdirSync(this.#folder)
          .filter((name) => !name.startsWith('.'))
          .toSorted()
      : [];
  }
}

/** Renames a folder, or copies it where the other place is on another disk; it appears whole or not at all. */
function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    const part = join(dirname(to), `.${randomBytes(8).toString('hex')}`);
    cpSync(from, part, { recursive: true });
    renameSync(part, to);
    rmSync(from, { recursive: true, force: true });
  }
}
