import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { TriggerFsError } from '../../protocol/errors.ts';
import { parseDuration } from '../../protocol/quantity.ts';
import type { Logger } from '../logging.ts';
import { packageRoot } from '../package-root.ts';
import type { DatabaseRole } from './pool.ts';

/** What a program needs of its database before it starts. */
export interface DatabaseNeed {
  readonly url: string;
  /** The role that the program takes, with the whole schema; null for who brings the schema. */
  readonly role: DatabaseRole | null;
  /** How long to wait for it, in milliseconds; 0: it has to be there. */
  readonly waitMs: number;
  readonly log: Logger;
}

const CONNECT_MS = 5_000;
const LONGEST_WAIT_MS = 86_400_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;
/** What passes: nobody listens yet, a name that is not known yet, a server that starts, stops, or is full. */
const PASSING = /^(ECONN\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOENT|08\w{3}|57P0[123]|53300)$/;
const MIGRATION = /^\d{4}_\w+\.sql$/;

/**
 * Waits until the database answers and has the schema, and says what it waits for: programs of a fleet come up in any order.
 * @throws TriggerFsError TFS_UNAVAILABLE when it does not in time, or what is wrong will not pass by itself; TFS_CONFIG without the role
 */
export async function awaitDatabase({ url, role, waitMs, log }: DatabaseNeed): Promise<void> {
  const end = performance.now() + waitMs;
  let told = '';
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    const missing = await missingFor(url, role);
    if (missing === null) {
      if (told !== '') log.info('the database is ready');
      return;
    }
    if (performance.now() + pause >= end) throw new TriggerFsError('TFS_UNAVAILABLE', missing);
    if (missing !== told) log.warn(`${missing}; waiting up to ${Math.ceil((end - performance.now()) / 1000)} s for it`);
    told = missing;
    await sleep(pause);
  }
}

/** An error of the start for who reads it: a database that went away meanwhile is no fault of the program. */
export function startError(error: unknown): unknown {
  if (error instanceof TriggerFsError || !isPassing(error)) return error;
  return new TriggerFsError('TFS_UNAVAILABLE', `the database went away: ${(error as Error).message}`, { cause: error });
}

/** How long a program waits by its option `-wait`. Default: longer than a machine with everything on it takes to come up. @throws TriggerFsError TFS_USAGE */
export function waitOf(option: string | undefined): number {
  if (option !== undefined && /^0(ms|s)?$/.test(option)) return 0;
  const ms = parseDuration(option ?? '60s');
  if (ms !== null && ms <= LONGEST_WAIT_MS) return ms;
  throw new TriggerFsError('TFS_USAGE', `-wait takes a duration up to 24h, such as 60s, or 0 for not at all, not ${option}`);
}

/** In words what is not there yet; null when nothing is missing. @throws TriggerFsError what will not pass by itself */
async function missingFor(url: string, role: DatabaseRole | null): Promise<string | null> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_MS, query_timeout: CONNECT_MS });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return role === null ? null : await missingSchema(client, role);
  } catch (cause) {
    if (cause instanceof TriggerFsError) throw cause;
    const message = `cannot connect to the database ${nameOf(client)}: ${messageOf(cause)}`;
    if (isPassing(cause)) return message;
    throw new TriggerFsError('TFS_UNAVAILABLE', message, { cause });
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function missingSchema(client: pg.Client, role: DatabaseRole): Promise<string | null> {
  const { rows } = await client.query<{ schema: boolean; role: boolean | null; login: string }>(
    `select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'triggerfs' and c.relname = 'migrations') as schema,
       (select pg_has_role(r.oid, 'MEMBER') from pg_roles r where r.rolname = $1) as role, current_user as login`,
    [role],
  );
  const [found] = rows;
  const next = 'start a triggerfs-control-plane on it, which brings it up to date';
  if (found?.schema !== true || found.role === null) return `the database ${nameOf(client)} has no tables of triggerFS yet: ${next}`;
  if (!found.role) {
    const { login } = found;
    throw new TriggerFsError('TFS_CONFIG', `${login} may not become ${role} in the database ${nameOf(client)}: grant ${role} to ${login}`);
  }
  const [newest, wanted] = [await newestMigration(client), newestKnown()];
  if (newest === null || newest >= wanted) return null;
  return `the database ${nameOf(client)} has migration ${newest} and this triggerFS needs ${wanted}: ${next}`;
}

/** Null when the login may not look. */
async function newestMigration(client: pg.Client): Promise<number | null> {
  try {
    const { rows } = await client.query<{ newest: number | null }>('select max(version) as newest from triggerfs.migrations');
    return rows[0]?.newest ?? 0;
  } catch (error) {
    if ((error as { code?: string }).code === '42501') return null;
    throw error;
  }
}

function newestKnown(): number {
  return readdirSync(join(packageRoot(), 'migrations')).filter((name) => MIGRATION.test(name)).length;
}

function isPassing(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (error instanceof AggregateError) return error.errors.every(isPassing);
  return PASSING.test(code ?? '') || /timeout expired|Connection terminated/i.test(message ?? '');
}

/** Of an address with several numbers, what the first one said. */
function messageOf(error: unknown): string {
  return error instanceof AggregateError ? messageOf(error.errors[0]) : (error as Error).message;
}

function nameOf({ database, host, port }: pg.Client): string {
  return `${JSON.stringify(database ?? '')} at ${host}:${port}`;
}
