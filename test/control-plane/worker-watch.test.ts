import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, beforeEach, suite, test } from 'node:test';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

suite('letters about workers', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  const broker = randomUUID();

  before(async () => {
    api = await startFixture(cleanup);
    await api.sql(`insert into triggerfs.brokers (id, endpoint, public_key) values ($1, 'tcp://127.0.0.1:1', repeat('x', 40))`, [broker]);
    await api.sql(
      `insert into triggerfs.workers (team_id, identity, token_hash) select t.id, t.name || n, sha256((t.name || n)::bytea)
       from triggerfs.teams t, generate_series(1, 3) n`,
    );
  });

  beforeEach(async () => {
    await api.sql('delete from triggerfs.worker_watch');
    await api.sql('delete from triggerfs.mails');
  });

  async function online(...identities: string[]): Promise<void> {
    await api.sql('delete from triggerfs.presence');
    await api.sql(
      `insert into triggerfs.presence (worker_id, broker_id, team_id, concurrency, version)
       select id, $1, team_id, 1, 'test' from triggerfs.workers where identity = any($2)`,
      [broker, identities],
    );
  }

  /** Time passes: what the watch saw, it saw this long ago. */
  async function pass(seconds: number): Promise<void> {
    await api.sql(`update triggerfs.worker_watch set since = since - $1 * interval '1 s'`, [seconds]);
  }

  async function look(): Promise<number> {
    // The control-plane's own watch may be at it in this moment; then the letters are its.
    for (;;) {
      const [row] = await api.sql<{ free: boolean; letters: number }>(
        `select pg_try_advisory_xact_lock(7420318655) as free, triggerfs.watch_workers(interval '30 s') as letters`,
      );
      if (row?.free === true) return row.letters;
    }
  }

  async function subjects(): Promise<string[]> {
    const rows = await api.sql<{ line: string }>(
      `select t.name || ': ' || l.subject || ' - ' || l.body as line from triggerfs.mails l join triggerfs.teams t on t.id = l.team_id order by l.id`,
    );
    return rows.map((row) => row.line);
  }

  test('one letter when a worker stays away, one when it is back; none for a short absence', async () => {
    await online('a1');
    assert.equal(await look(), 0, 'a worker that comes is no news');
    await online();
    assert.equal(await look(), 0);
    await pass(20);
    assert.equal(await look(), 0);
    await online('a1');
    assert.equal(await look(), 0, 'it was away for 20 s');
    await online();
    await look();
    await pass(30);
    assert.equal(await look(), 1);
    assert.equal(await look(), 0, 'told once');
    await online('a1');
    assert.equal(await look(), 1);
    assert.deepEqual(await subjects(), [
      'a: Worker a1 is lost - No connection for more than 30 s: a1.',
      'a: Worker a1 is back - Connected again: a1.',
    ]);
  });

  test('workers that go together share a letter, each team has its own', async () => {
    await online('a1', 'a2', 'a3', 'b1');
    await look();
    await online('a3');
    await look();
    await pass(31);
    assert.equal(await look(), 2);
    assert.deepEqual((await subjects()).sort(), [
      'a: 2 workers are lost - No connection for more than 30 s: a1, a2.',
      'b: Worker b1 is lost - No connection for more than 30 s: b1.',
    ]);
  });

  test('housekeeping may look and sweep, and nothing else', async () => {
    await api.sql(`set role triggerfs_jobs; select triggerfs.watch_workers(interval '30 s'), triggerfs.sweep_people()`);
    await assert.rejects(api.sql(`set role triggerfs_jobs; select * from triggerfs.mails`), /permission denied/);
    await assert.rejects(api.sql(`set role triggerfs_edge; select triggerfs.send_mail(1, null, 'x', 'x', 'x')`), /permission denied/);
  });

  test('workers that were never here are not missed, and a silent broker holds nobody', async () => {
    await look();
    await pass(1000);
    assert.equal(await look(), 0);
    await online('a1');
    await look();
    await api.sql(`update triggerfs.brokers set beat_at = now() - interval '1 minute'`);
    await look();
    await pass(31);
    assert.equal(await look(), 1);
    await api.sql('update triggerfs.brokers set beat_at = now()');
  });
});
