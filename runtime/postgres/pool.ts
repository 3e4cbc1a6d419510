import pg from 'pg';
import type { Logger } from '../logging.ts';

/** Role that a process's statements run as. */
export type DatabaseRole = 'triggerfs_app' | 'triggerfs_edge' | 'triggerfs_jobs';

/** Options of `createPool`. Times are milliseconds. */
export interface PoolOptions {
  readonly url: string;
  /** Absent: the login's own rights (migrations, tests). */
  readonly role?: DatabaseRole;
  readonly max: number;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  readonly log: Logger;
  /** Default 2000. */
  readonly connectTimeoutMs?: number;
  /** Default 10000. The server gives up then; the client a second later, in case the server does not answer at all. */
  readonly statementTimeoutMs?: number;
}

/**
 * Makes a pool whose sessions run as one of the least-privilege roles, also when the address is a superuser's.
 * Losing a connection is logged and never crashes the process: the pool opens new ones as needed.
 */
export function createPool(options: PoolOptions): pg.Pool {
  const statement = options.statementTimeoutMs ?? 10_000;
  const pool = new pg.Pool({
    connectionString: withRole(options.url, options.role),
    max: options.max,
    application_name: options.name,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 2_000,
    statement_timeout: statement,
    query_timeout: statement + 1_000,
    idle_in_transaction_session_timeout: 30_000,
    keepAlive: true,
  });
  const onError = (err: Error): void => options.log.warn({ err }, 'lost a connection to PostgreSQL');
  pool.on('error', onError);
  pool.on('connect', (client) => void client.on('error', onError));
  return pool;
}

/** Adds the role to the address itself, because node-postgres lets `options` of an address replace those of the call. */
export function withRole(url: string, role: DatabaseRole | undefined): string {
  if (role === undefined) return url;
  const address = new URL(url);
  const given = address.searchParams.get('options');
  address.searchParams.set('options', `${given === null ? '' : `${given} `}-c role=${role}`);
  return address.href;
}
