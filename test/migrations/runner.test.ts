import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { migrate, migrationStatus } from '../../migrations/runner.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { createDatabase, createEmptyDatabase } from '../support/postgres.ts';

const FOLDER = join(packageRoot(), 'migrations');

async function ownFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'triggerfs-migrations-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const name of await known()) await cp(join(FOLDER, name), join(folder, name));
  return folder;
}

async function known(): Promise<string[]> {
  return (await readdir(FOLDER)).filter((name) => name.endsWith('.sql')).sort();
}

function numbered(position: number, name: string): string {
  return `${String(position).padStart(4, '0')}_${name}.sql`;
}

async function rows(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

test('an empty database gets everything, a second run nothing', async (t) => {
  const url = await createEmptyDatabase(t);
  assert.ok((await migrationStatus({ url })).every((one) => one.appliedAt === null));
  assert.deepEqual(await migrate({ url }), await known());
  assert.deepEqual(await migrate({ url }), []);
  assert.ok((await migrationStatus({ url })).every((one) => one.appliedAt instanceof Date));
  assert.deepEqual(await rows(url, 'select name from triggerfs.migrations order by version'), await known());
  assert.deepEqual(
    await rows(
      url,
      `select to_regclass(name) is not null from unnest(array['graphile_worker.jobs', 'pgboss.job', 'triggerfs.triggers']) name`,
    ),
    [true, true, true],
  );
});

test('runners that start at once apply each migration once', async (t) => {
  const url = await createEmptyDatabase(t);
  const applied = await Promise.all([1, 2, 3].map(() => migrate({ url })));
  assert.deepEqual(applied.flat().sort(), await known());
});

test('new migrations are applied in order; a failing one leaves no trace and is named with its line', async (t) => {
  const url = await createDatabase(t);
  const folder = await ownFolder(t);
  const count = (await known()).length;
  const good = numbered(count + 1, 'good');
  const failing = numbered(count + 2, 'failing');
  await writeFile(join(folder, good), 'create table triggerfs.good (a integer);');
  await writeFile(join(folder, failing), 'create table triggerfs.bad (a integer);\nselect 1 from triggerfs.missing;\n');
  await assert.rejects(migrate({ url, folder }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'TFS_MIGRATION');
    assert.match(error.message, new RegExp(`${failing}:2 failed: relation "triggerfs.missing" does not exist`));
    return true;
  });
  assert.deepEqual(await rows(url, `select to_regclass('triggerfs.good') is null, to_regclass('triggerfs.bad') is null`), [false, true]);
  await writeFile(
    join(folder, failing),
    '-- triggerfs:no-transaction\ncreate index concurrently if not exists good_a on triggerfs.good (a);\n',
  );
  assert.deepEqual(await migrate({ url, folder }), [failing]);
});

test('concurrent runners do not block an index that is built concurrently', async (t) => {
  const url = await createDatabase(t);
  const folder = await ownFolder(t);
  const name = numbered((await known()).length + 1, 'index');
  await writeFile(
    join(folder, name),
    '-- triggerfs:no-transaction\ncreate index concurrently if not exists workers_x on triggerfs.workers (description);',
  );
  const applied = await Promise.all([1, 2, 3].map(() => migrate({ url, folder })));
  assert.deepEqual(applied.flat(), [name]);
});

test('an edited, renamed or inserted file and a newer database are refused', async (t) => {
  const url = await createDatabase(t);
  const count = (await known()).length;
  const refused = async (code: string, message: RegExp, prepare: (folder: string) => Promise<void>): Promise<void> => {
    const folder = await ownFolder(t);
    await prepare(folder);
    for (const run of [migrate, migrationStatus]) {
      await assert.rejects(run({ url, folder }), (error: Error & { code: string }) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    }
  };
  await refused('TFS_MIGRATION', /0003_services\.sql was edited/, (folder) => writeFile(join(folder, '0003_services.sql'), 'select 1;'));
  await refused('TFS_MIGRATION', /0003_services\.sql was applied, but the file is 0003_other\.sql/, async (folder) => {
    await cp(join(folder, '0003_services.sql'), join(folder, '0003_other.sql'));
    await rm(join(folder, '0003_services.sql'));
  });
  await refused('TFS_MIGRATION', /where number 4 is expected/, (folder) => writeFile(join(folder, '0003_zz.sql'), 'select 1;'));
  await refused('TFS_MIGRATION', /is not named like/, (folder) => writeFile(join(folder, 'extra.sql'), 'select 1;'));
  await refused('TFS_DATABASE_NEWER', new RegExp(`has migration ${numbered(count, '')}`.replace('.sql', '')), (folder) =>
    known().then((names) => rm(join(folder, names[count - 1] as string))),
  );
  await rows(url, 'delete from triggerfs.migrations where version = 2');
  await refused('TFS_MIGRATION', /0002_people\.sql was not applied, but number \d+ was/, async () => undefined);
});

test('without a database it says so', async () => {
  await assert.rejects(migrate({ url: 'postgresql://x:secret@127.0.0.1:1/x' }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'TFS_UNAVAILABLE');
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});
