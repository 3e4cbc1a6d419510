import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import pg from 'pg';
import { lastFirst } from '../support/last-first.ts';
import { createDatabase } from '../support/postgres.ts';

interface Known {
  readonly n: number;
  readonly id: string | null;
}

test('a statement that is repeated accepts nothing twice, and what is new in it', async (t) => {
  const last = lastFirst(t);
  const sql = new pg.Client({ connectionString: await createDatabase(last) });
  await sql.connect();
  last.after(() => sql.end());
  const { rows: teams } = await sql.query<{ id: number }>(`insert into triggerfs.teams (name) values ('acme') returning id`);
  const rule = { sealed: true, team: (teams[0] as { id: number }).id, source: 'api', caller: 'c', service: 's', plugin: 'p' };
  const accept = async (ids: readonly string[], keys: readonly (string | null)[] | null): Promise<Known[]> => {
    const payloads = ids.map(() => Buffer.from('x'));
    const { rows } = await sql.query<Known>('select n, id from triggerfs.enqueue_batch($1, $2, $3, $4, $5, $6) order by n', [
      JSON.stringify([rule]),
      ids.map(() => 1),
      ids,
      keys,
      keys === null ? null : keys.map((key) => (key === null ? null : Buffer.from('hash'))),
      payloads,
    ]);
    return rows;
  };
  const count = async (): Promise<unknown> => {
    const { rows } = await sql.query(
      `select (select count(*) from triggerfs.queue_items)::integer as items,
         (select count(*) from pgboss.job j join triggerfs.queue_items i on i.id = j.id where j.name = 'invocations')::integer as jobs`,
    );
    return rows[0];
  };
  // Of two with one key the one with the lower id is accepted: ids begin with the time.
  const [a, b, c, d, e] = Array.from({ length: 5 }, () => randomUUID()).sort() as [string, string, string, string, string];

  assert.deepEqual(await accept([a, b], null), []);
  assert.deepEqual(await accept([a, c, b], null), [
    { n: 1, id: a },
    { n: 3, id: b },
  ]);
  assert.deepEqual(await count(), { items: 3, jobs: 3 });
  assert.deepEqual(await accept([d, e], ['k', 'k']), [{ n: 2, id: d }]);
  assert.deepEqual(await accept([randomUUID(), c], ['k', null]), [
    { n: 1, id: d },
    { n: 2, id: c },
  ]);
  assert.deepEqual(await count(), { items: 4, jobs: 4 });
});
