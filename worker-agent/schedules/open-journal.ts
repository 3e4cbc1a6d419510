import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Log } from '../../runtime/logging.ts';
import { FileLock } from '../../runtime/sqlite/file-lock.ts';
import { Journal } from './journal.ts';

const PAGE_BYTES = 4096;
/** Room for definitions and facts beside the output. */
const FACTS_BYTES = 256 * 1024 * 1024;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Extended codes of SQLite end in the primary one. */
const DAMAGED = new Set([11, 26]);

/** A journal that is open, and how to tell it from others of the same worker. */
export interface OpenJournal {
  readonly journal: Journal;
  readonly id: string;
  close(): void;
}

/** Whether there is a journal at a path. */
export function journalExists(path: string): boolean {
  return existsSync(path);
}

/**
 * Opens the journal at a path, and makes it when it is missing. A damaged one is put aside and a new one begun, with the same id:
 * what was not reported is lost then, and brokers tell which slots may have been fired. `limit`: bytes of output.
 * @throws TriggerFsError TFS_CONFLICT when another process has it open; other errors when it cannot be read or written
 */
export function openJournal(path: string, limit: number, log: Log): OpenJournal {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const lock = FileLock.take(`${path}.lock`, { inUse: `the journal ${path} is in use by another process`, waitMs: 0 });
  try {
    const journal = openOrReplace(path, Math.ceil((limit + FACTS_BYTES) / PAGE_BYTES), log);
    const close = (): void => {
      journal.close();
      lock.release();
    };
    return { journal, id: journalId(`${path}.id`), close };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function openOrReplace(path: string, maxPages: number, log: Log): Journal {
  try {
    return new Journal(path, maxPages);
  } catch (error) {
    const { errcode, message } = error as { errcode?: number; message: string };
    if (!DAMAGED.has((errcode ?? 0) & 0xff) && !message.includes('damaged')) throw error;
    const aside = `${path}.damaged-${Date.now()}`;
    for (const suffix of ['', '-wal', '-shm']) if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    log.error(`the journal of resident schedules is damaged (${message}); it is kept as ${aside}, and a new one is begun`);
    return new Journal(path, maxPages);
  }
}

function journalId(path: string): string {
  const found = existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  if (UUID.test(found)) return found;
  const id = randomUUID();
  writeFileSync(path, `${id}\n`, { mode: 0o600 });
  return id;
}
