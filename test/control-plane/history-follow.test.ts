import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Database } from '../../control-plane/database.ts';
import { Position } from '../../control-plane/history/position.ts';
import { markOf } from '../../control-plane/history/tail.ts';
import { Tails } from '../../control-plane/history/tails.ts';
import { type ControlPlane, startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { Follower } from '../support/history-follower.ts';
import { masterKeySection } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { COST, type Fixture, startFixture, suiteCleanup } from './fixture.ts';
import { HistoryWriter } from './history-fixture.ts';

const W1 = { id: 1, identity: 'w1' };
const W2 = { id: 2, identity: 'w2' };

suite('following the history', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let writer: HistoryWriter;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup);
    writer = await HistoryWriter.open(cleanup, api.databaseUrl);
    token = await api.tokenOf('member');
  });

  function follow(path: string, headers: Record<string, string> = {}): Promise<Follower> {
    return Follower.open(api.controlPlane.url, token, path, headers);
  }

  async function running(): Promise<string> {
    const id = await writer.invocation({ verdict: null });
    await writer.run(id, W1, { verdict: null });
    return id;
  }

  test('a late joiner sees everything once and goes on live to the end', async () => {
    const id = await running();
    for (let block = 0; block < 40; block += 1) await writer.block(id, 1, block, [[`${block} `]]);
    const reader = await follow(`${id}/output`);
    assert.match(reader.response.headers['content-type'] ?? '', /text\/event-stream/);
    assert.equal(reader.response.headers['cache-control'], 'no-store');
    const expected = (blocks: number): string => Array.from({ length: blocks }, (_, block) => `${block} `).join('');
    await until(() => reader.text() === expected(40), { what: 'what was there' });
    for (let block = 40; block < 60; block += 1) {
      await writer.block(id, 1, block, [[`${block} `]]);
      if (block % 7 === 0) await sleep(50);
    }
    await until(() => reader.text() === expected(60), { what: 'what came' });
    await writer.run(id, W2, { verdict: null });
    await writer.block(id, 2, 0, [['second ', true]]);
    await until(() => reader.text('w2') === 'second ', { what: 'a run that began later' });
    await writer.block(id, 1, 60, [['60 ']]);
    await writer.end(id);
    await until(() => reader.ended, { what: 'the end' });
    assert.equal(reader.text(), expected(61));
    assert.deepEqual(reader.kinds.slice(-3), ['verdict', 'verdict', 'done']);
    assert.equal(reader.kinds[0], 'invocation');
    assert.equal(new Set(reader.ids).size, reader.ids.length, 'each event has a cursor of its own');
  });

  test('an ended one is told at once, and its end needs no further connection', async () => {
    const id = await running();
    await writer.block(id, 1, 0, [['a'], ['b', true], ['c']]);
    await writer.end(id, 'failed');
    const reader = await follow(`${id}/output`);
    await until(() => reader.ended, { what: 'the end' });
    assert.deepEqual(reader.kinds, ['invocation', 'output', 'output', 'output', 'verdict', 'done']);
    const again = await follow(`${id}/output`, { 'last-event-id': reader.lastId });
    assert.equal(again.response.statusCode, 204);
  });

  test('from every cursor the rest comes, no more and no less', async () => {
    const id = await running();
    await writer.run(id, W2, { verdict: null });
    await writer.block(id, 1, 0, [['a'], ['b', true], ['c'], ['d', true]]);
    await writer.block(id, 2, 0, [['A'], ['B', true]], { gap: true });
    await writer.block(id, 1, 1, [['e']]);
    await writer.end(id);
    const whole = await follow(`${id}/output`);
    await until(() => whole.ended, { what: 'the end' });
    const events = whole.events.slice(1).map((event) => JSON.stringify(event));
    assert.equal(events.length, whole.ids.length);
    assert.equal(events.length, 5 + 3 + 2 + 1);
    for (const [index, cursor] of whole.ids.entries()) {
      if (index === events.length - 1) continue;
      for (const how of ['header', 'query', 'lines']) {
        const rest = how === 'header' ? await follow(`${id}/output`, { 'last-event-id': cursor }) : null;
        if (rest !== null) {
          await until(() => rest.ended, { what: 'the rest' });
          assert.deepEqual(
            rest.events.slice(1).map((event) => JSON.stringify(event)),
            events.slice(index + 1),
            `after ${cursor}`,
          );
          continue;
        }
        const url = new URL(`/v1/history/${id}/output?after=${encodeURIComponent(cursor)}`, api.controlPlane.url);
        const accept = how === 'query' ? 'application/x-ndjson' : 'application/ndjson';
        const text = await (await fetch(url, { headers: { authorization: `Bearer ${token}`, accept } })).text();
        const lines = text.trimEnd().split('\n').slice(1);
        assert.deepEqual(
          lines.map((line) => JSON.parse(line).cursor),
          whole.ids.slice(index + 1),
        );
      }
    }
    assert.equal((await follow(`${id}/output`, { 'last-event-id': 'nonsense' })).response.statusCode, 400);
  });

  test('a reader goes on at another control-plane when its own dies, without loss or repetition', async () => {
    const second = await startControlPlane({
      config: parseConfig(masterKeySection(), null),
      databaseUrl: api.databaseUrl,
      log: silentLogger(),
      port: 0,
      passwordCost: COST,
    });
    const planes: ControlPlane[] = [second, api.controlPlane];
    const id = await running();
    let written = 0;
    let writing = true;
    const work = (async () => {
      for (; writing; written += 1) {
        await writer.block(id, 1, written, [[`${written},`], [`e${written},`, true]]);
        await sleep(15);
      }
    })();
    const first = await Follower.open(planes[0]?.url ?? '', token, `${id}/output`);
    await until(() => first.events.length > 10, { what: 'some events' });
    const stopping = performance.now();
    await second.stop();
    assert.ok(performance.now() - stopping < 5_000, 'a follower does not hold up the end');
    await until(() => first.ended || first.broken, { what: 'the end of the first answer' });
    assert.equal(first.kinds.includes('done'), false);
    const rest = await Follower.open(planes[1]?.url ?? '', token, `${id}/output`, { 'last-event-id': first.lastId });
    await until(() => rest.events.length > 10, { what: 'more events' });
    writing = false;
    await work;
    await writer.end(id);
    await until(() => rest.ended, { what: 'the end' });
    const expected = Array.from({ length: written }, (_, block) => `${block},e${block},`).join('');
    assert.equal(first.text() + rest.text(), expected);
  });

  test('one that waits in the queue is followed before it begins', async () => {
    const id = randomUUID();
    await writer.sql(
      `insert into triggerfs.queue_items (id, team_id, source, service, plugin, due_at, expires_at)
       select $1, id, 'api', 's', 'echo', now(), now() + interval '1 h' from triggerfs.teams where name = 'a'`,
      [id],
    );
    const reader = await follow(`${id}/output`);
    await until(() => reader.events.length === 1, { what: 'that it waits' });
    assert.equal((reader.events[0] as { state?: string }).state, 'accepted');
    const second = await follow(`${id}/output`);
    await writer.invocation({ id, verdict: null });
    await writer.run(id, W1, { verdict: null });
    await writer.block(id, 1, 0, [['now']]);
    await until(() => reader.text() === 'now' && second.text() === 'now', { what: 'its output' });
    await writer.end(id);
    await until(() => reader.ended, { what: 'the end' });
    assert.deepEqual(reader.kinds, ['invocation', 'invocation', 'output', 'verdict', 'done']);
  });

  test('one that never leaves the queue ends there', async () => {
    const [row] = await writer.sql<{ id: string }>(
      `insert into triggerfs.queue_items (id, team_id, source, service, plugin, due_at, expires_at)
       select triggerfs.uuid_v7(), id, 'api', 's', 'echo', now(), now() + interval '1 h' from triggerfs.teams where name = 'a' returning id`,
    );
    const reader = await follow(`${row?.id}/output`);
    await until(() => reader.events.length === 1, { what: 'that it waits' });
    await writer.sql(
      `update triggerfs.queue_items set state = 'cancelled', verdict = 'cancelled', error = 'TFS_CANCELLED', ended_at = now() where id = $1`,
      [row?.id],
    );
    await until(() => reader.ended, { what: 'the end' });
    const done = reader.events.at(-1);
    assert.deepEqual([done?.event, done?.event === 'done' ? done.verdict : ''], ['done', 'cancelled']);
  });

  test('all followers of one control-plane share what came', async () => {
    const ids = [await running(), await running(), await running()];
    const readers = await Promise.all(Array.from({ length: 30 }, (_, n) => follow(`${ids[n % 3]}/output`)));
    await until(() => readers.every((reader) => reader.events.length === 1), { what: 'the followers' });
    for (let block = 0; block < 5; block += 1) {
      for (const id of ids) await writer.block(id, 1, block, [[`${block}`]]);
      await sleep(100);
    }
    await until(() => readers.every((reader) => reader.text() === '01234'), { what: 'all output at all followers' });
    const metrics = String((await api.call('GET /metrics')).body.text);
    assert.match(metrics, /^triggerfs_history_followers (3\d|[4-9]\d)$/m);
    assert.match(metrics, /^triggerfs_history_follow_lag_seconds_count [1-9]/m);
    for (const reader of readers) reader.close();
  });

  test('any number of followers cost at most four statements a second, and none when nobody follows', async (t) => {
    const pool = createPool({ url: api.databaseUrl, role: 'triggerfs_app', max: 2, name: 'test', log: silentLogger() });
    t.after(() => pool.end());
    const database = new Database(pool);
    let looks = 0;
    const rows = database.rows.bind(database);
    database.rows = (sql, values) => {
      looks += 1;
      return rows(sql, values);
    };
    const tails = new Tails(database, silentLogger(), null);
    const teamId = await writer.team('a');
    const ids = [await running(), await running(), await running()];
    const readers = Array.from({ length: 60 }, (_, n) => tails.join({ teamId, id: String(ids[n % 3]), worker: null }));
    await sleep(300);
    assert.equal(looks, 0, 'nobody waits yet');
    const waits = readers.map((reader) => reader.next(new Position(), markOf(true, 0, false), 1_600));
    assert.deepEqual(new Set(await Promise.all(waits)), new Set(['idle']));
    assert.ok(looks >= 4 && looks <= 8, `${looks} looks in 1.6 s`);
    looks = 0;
    await sleep(600);
    assert.ok(looks <= 1, 'nobody waits any more');
    const news = readers.map((reader) => reader.next(new Position(), markOf(true, 0, false), 5_000));
    for (const id of ids) await writer.block(id, 1, 0, [['x']]);
    for (const blocks of await Promise.all(news)) assert.equal(Array.isArray(blocks) && blocks.length, 1);
    for (const reader of readers) reader.leave();
    await tails.stop();
  });

  test('a cursor that was made up stops nobody but its owner', async () => {
    const id = await running();
    await writer.block(id, 1, 0, [['a']]);
    const forged = await follow(`${id}/output`, { 'last-event-id': '1.1.1000000_77.1.5' });
    await until(() => forged.events.length === 1, { what: 'the beginning' });
    await sleep(400);
    const honest = await follow(`${id}/output`);
    await until(() => honest.text() === 'a', { what: 'what was there' });
    await sleep(400);
    await writer.block(id, 1, 1, [['b']]);
    await until(() => honest.text() === 'ab', { what: 'what came', timeoutMs: 3_000 });
    await writer.end(id);
    await until(() => honest.ended && forged.ended, { what: 'the end' });
  });

  test('of a worker and of a stream', async () => {
    const id = await running();
    await writer.run(id, W2, { verdict: null });
    await writer.block(id, 1, 0, [['one'], ['err', true]]);
    await writer.block(id, 2, 0, [['two']]);
    const [worker, stream] = [await follow(`${id}/output?worker=W1`), await follow(`${id}/output?stream=stderr`)];
    await until(() => worker.text() === 'oneerr' && stream.text() === 'err', { what: 'the beginning' });
    await writer.block(id, 1, 1, [['more'], ['err', true]]);
    await writer.block(id, 2, 1, [['two']]);
    await writer.end(id);
    await until(() => worker.ended && stream.ended, { what: 'the end' });
    assert.equal(worker.text(), 'oneerrmoreerr');
    assert.equal(worker.text('w2'), '');
    assert.deepEqual(worker.kinds.slice(-2), ['verdict', 'done']);
    assert.equal(stream.text(), 'errerr');
  });

  test('a reader that does not read holds nothing up, and gets everything when it does', async () => {
    const id = await running();
    const slow = await follow(`${id}/output`);
    slow.response.pause();
    const quick = await follow(`${id}/output`);
    const part = 'x'.repeat(60_000);
    for (let block = 0; block < 100; block += 1) await writer.block(id, 1, block, [[`${block}:${part}`]]);
    await writer.end(id);
    await until(() => quick.ended, { what: 'the quick reader', timeoutMs: 20_000 });
    slow.response.resume();
    await until(() => slow.ended, { what: 'the slow reader', timeoutMs: 20_000 });
    assert.equal(quick.text().length, slow.text().length);
    assert.equal(slow.text(), Array.from({ length: 100 }, (_, block) => `${block}:${part}`).join(''));
  });

  test('who may read no longer is sent away', async () => {
    const id = await running();
    const leaving = await api.logIn('viewer');
    const reader = await Follower.open(api.controlPlane.url, leaving.apiToken, `${id}/output`);
    await until(() => reader.events.length === 1, { what: 'the beginning' });
    await api.call('POST /v1/logout', { token: leaving.apiToken });
    await until(() => reader.ended, { what: 'the end of the answer', timeoutMs: 20_000 });
    assert.equal(reader.kinds.includes('done'), false);
  });

  test('another team cannot follow', async () => {
    const id = await running();
    const theirs = await Follower.open(api.controlPlane.url, await api.tokenOf('owner', 'b'), `${id}/output`);
    assert.equal(theirs.response.statusCode, 404);
  });
});
