import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { silentLogger } from '../../runtime/logging.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { lastFirst } from '../support/last-first.ts';
import { serverFolder } from '../support/server.ts';
import { System } from '../support/system.ts';

/** Pollers that slow down when nothing happens do so after ten seconds. */
const SETTLE_MS = 12_000;
const WINDOW_MS = 12_000;
const MOST_PER_SECOND = 5;
const MINUTE_MS = 60_000;

/** The tasks of the clock come with the full minute, some dozen statements in five minutes: the window does not begin just before them. */
async function betweenMinutes(): Promise<void> {
  const left = MINUTE_MS - (Date.now() % MINUTE_MS);
  if (left < WINDOW_MS + 1_000) await sleep(left + 3_000);
}

test('a whole system that has nothing to do asks the database less than five times a second', async (test) => {
  const t = lastFirst(test);
  const folder = serverFolder(t);
  const dataDir = join(folder, 'postgres');
  const postgres = await EmbeddedPostgres.start({ dataDir, port: 0, log: silentLogger(), fsync: false });
  t.after(() => postgres.stop());
  await System.start(t, { mount: true, databaseUrl: postgres.url });
  const own = new pg.Client({ connectionString: postgres.url, application_name: 'counter' });
  await own.connect();
  t.after(() => own.end());
  await own.query(`alter system set log_line_prefix = '<%a> '`);
  await own.query(`alter system set log_statement = 'all'`);
  await own.query('select pg_reload_conf()');
  await sleep(SETTLE_MS);
  await betweenMinutes();

  const log = join(dataDir, 'postgres.log');
  const before = statSync(log).size;
  await sleep(WINDOW_MS);
  const lines = readFileSync(log).subarray(before).toString('utf8').split('\n');
  const asked = lines.flatMap(
    (line) => /^<(?!counter>)([^>]+)> LOG: {2}(?:statement|execute [^:]*): (.*)/.exec(line)?.slice(1, 3).join(': ') ?? [],
  );

  assert.ok(asked.length >= 5, `the log has ${asked.length} statements: it does not show what is asked`);
  const perSecond = (asked.length * 1_000) / WINDOW_MS;
  assert.ok(perSecond < MOST_PER_SECOND, `${perSecond.toFixed(1)} statements a second:\n${asked.sort().join('\n')}`);
});
