import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import pg from 'pg';
import { ERRORS } from '../../protocol/errors.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import { QueueStage } from './queue-stage.ts';

test('what is accepted runs, and its result is kept', async (t) => {
  const stage = await QueueStage.start(t);
  const worker = await stage.service('s', (task) => {
    task.started();
    task.output('out ');
    task.output('error\n', true);
    task.output(Buffer.from([0xff, 0x00]));
    task.result(Verdict.ok, 0);
  });
  const answer = await stage.accept({ payload: 'hello', args: { color: 'red', size: 3 }, priority: 5 });
  assert.equal(answer.status, 202, answer.body.detail);
  const id = String(answer.body.id);
  assert.equal(answer.headers.get('location'), `/v1/invocations/${id}`);
  const item = await stage.ended(id);
  assert.equal(item.state, 'done');
  assert.equal(item.verdict, 'ok');
  assert.equal(item.source, 'api');
  assert.equal(item.caller, 'member-a');
  assert.equal(item.attempt, 1);
  assert.equal(item.result?.outputBase64, Buffer.concat([Buffer.from('out '), Buffer.from([0xff, 0x00])]).toString('base64'));
  assert.equal(item.result?.stderr, 'error\n');
  assert.deepEqual(
    item.result?.runs.map((run) => run.worker),
    ['s01'],
  );
  assert.deepEqual(
    item.attempts.map((attempt) => [attempt.invocation, attempt.worker, attempt.verdict, attempt.late]),
    [[id, 's01', 'ok', false]],
  );
  const [task] = worker.tasks;
  assert.equal(task?.invocation, id);
  assert.equal(task?.payload.toString(), 'hello');
  assert.deepEqual(task?.plan.args, { color: 'red', size: '3' });
  assert.equal(task?.plan.caller, 'member-a');
  const list = await stage.api.call('GET /v1/queue?service=s', { token: stage.token });
  assert.deepEqual(list.body.counts, { queued: 0, running: 0, done: 1, dead: 0, cancelled: 0, expired: 0 });
});

test('payloads and results are sealed in the tables, and pg-boss holds nothing but ids', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.service('s', (task) => {
    task.output('s3cret output');
    task.result(Verdict.failed, 3);
  });
  const id = await stage.enqueue({ payload: 's3cret payload' });
  assert.equal((await stage.ended(id)).state, 'dead');
  const [row] = await stage.api.sql<{ text: string; clear: boolean }>(
    `select i::text as text, position('s3cret'::bytea in payload) + position('s3cret'::bytea in answer) > 0 as clear from triggerfs.queue_items i`,
  );
  assert.equal(row?.clear, false);
  assert.ok(!row?.text.includes('s3cret') && !row?.text.includes(Buffer.from('s3cret').toString('hex')));
  assert.deepEqual(await stage.api.sql('select from pgboss.job'), []);
});

test('rights are checked before anything is accepted', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.service('s', undefined, { plugins: ['p'] });
  await stage.service('mine', undefined, { visibility: 'local' });
  const code = async (body: Record<string, unknown>): Promise<string> => (await stage.accept(body)).body.code;
  assert.equal(await code({ service: 'none' }), 'TFS_UNKNOWN_SERVICE');
  assert.equal(await code({ service: 'mine' }), 'TFS_UNKNOWN_SERVICE');
  assert.equal(await code({ service: 'b/s' }), 'TFS_WRONG_TEAM');
  assert.equal(await code({ plugin: 'other' }), 'TFS_PLUGIN_NOT_ALLOWED');
  assert.equal(await code({ payload: 'a', payloadBase64: 'YQ==' }), 'TFS_BAD_REQUEST');
  assert.equal(await code({ delay: 'soon' }), 'TFS_BAD_REQUEST');
  assert.equal(await code({ timeout: '8d' }), 'TFS_BAD_TIMEOUT');
  assert.equal(await code({ onSuccess: { trigger: '/none' } }), 'TFS_NOT_FOUND');
  assert.equal(await code({ retries: 5000 }), 'TFS_BAD_REQUEST');
  const viewer = await stage.api.tokenOf('viewer');
  assert.equal(
    (await stage.api.call('POST /v1/invocations', { token: viewer, body: { service: 's', plugin: 'p' } })).body.code,
    'TFS_FORBIDDEN',
  );
  const reader = await stage.api.call('POST /v1/tokens', { token: stage.token, body: { name: 'r', scopes: ['read'] } });
  const refused = await stage.api.call('POST /v1/invocations', { token: String(reader.body.token), body: { service: 's', plugin: 'p' } });
  assert.equal(refused.body.code, 'TFS_FORBIDDEN');
  assert.deepEqual(await stage.api.sql('select from triggerfs.queue_items'), []);
});

test('the source is api, or client when that is said, and nothing else', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.service('s');
  const first = await stage.accept({ payload: 'x', source: 'client' }, 'key');
  assert.equal((await stage.ended(String(first.body.id))).source, 'client');
  const seen = await until(
    async () => {
      const { rows } = await stage.world.sql.query('select source from triggerfs.invocations where id = $1', [first.body.id]);
      return rows[0] as { source: string } | undefined;
    },
    { what: 'the history' },
  );
  assert.equal(seen.source, 'client');
  // The same request through another door is the same request.
  const again = await stage.accept({ payload: 'x' }, 'key');
  assert.deepEqual([again.status, again.body.id], [200, first.body.id]);
  for (const source of ['webhook', 'schedule', 'fs', 'sql', 'http', 'worker', '', 'CLIENT', null, 7]) {
    const refused = await stage.accept({ payload: 'x', source });
    assert.deepEqual([refused.status, refused.body.code], [400, 'TFS_BAD_REQUEST'], String(source));
  }
});

test('the same idempotency key runs once, and is answered with the first result', async (t) => {
  const stage = await QueueStage.start(t);
  const worker = await stage.service('s');
  const answers = await Promise.all(Array.from({ length: 8 }, () => stage.accept({ payload: 'x' }, 'order-1')));
  assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
  assert.equal(answers.filter(({ body }) => !body.existing).length, 1);
  await stage.ended(String(answers[0]?.body.id));
  const again = await stage.accept({ payload: 'x' }, 'order-1');
  assert.equal(again.status, 200);
  assert.equal((again.body.result as unknown as { output: string }).output, 'x');
  const other = await stage.accept({ payload: 'y' }, 'order-1');
  assert.equal(other.status, 409);
  assert.equal(other.body.code, 'TFS_CONFLICT');
  assert.equal(worker.tasks.length, 1);
});

test('a failed attempt is tried again as often as was asked for, with growing pauses', async (t) => {
  const stage = await QueueStage.start(t);
  const at: number[] = [];
  const worker = await stage.service('s', (task) => {
    at.push(performance.now());
    task.output(`attempt ${at.length}`);
    task.result(at.length < 4 ? Verdict.failed : Verdict.ok, at.length < 4 ? 9 : 0);
  });
  const once = await stage.enqueue({});
  assert.equal((await stage.ended(once)).state, 'dead');
  at.length = 0;
  const item = await stage.ended(await stage.enqueue({ retries: 3, backoff: '200ms' }));
  assert.equal(item.state, 'done');
  assert.equal(item.result?.output, 'attempt 4');
  assert.equal(item.retriesLeft, 0);
  assert.deepEqual(
    item.attempts.map(({ verdict, exitCode }) => [verdict, exitCode]),
    [
      ['failed', 9],
      ['failed', 9],
      ['failed', 9],
      ['ok', 0],
    ],
  );
  assert.equal(new Set(item.attempts.map(({ invocation }) => invocation)).size, 4);
  const pauses = at.slice(1).map((time, index) => time - (at[index] as number));
  // Half to all of 200, 400, 800 ms; the queue is looked at twice a second.
  for (const [index, pause] of pauses.entries()) {
    assert.ok(pause >= 100 * 2 ** index - 5 && pause <= 200 * 2 ** index + 1500, `pause ${index}: ${pause} ms`);
  }
  assert.equal(worker.tasks.length, 5);
});

test('without a worker an item waits, and runs when one comes', async (t) => {
  const stage = await QueueStage.start(t);
  const person = await stage.world.addWorker(stage.owner, 'w');
  await stage.world.addService(stage.owner, 's', { workers: [person] });
  const ids = await Promise.all(Array.from({ length: 30 }, () => stage.enqueue({})));
  await until(async () => (await stage.item(ids[0] as string)).error === 'TFS_NO_WORKER', { what: 'the first attempt found no worker' });
  // One of them tries for all.
  const [attempts] = await stage.api.sql<{ count: number }>('select count(*)::integer as count from triggerfs.queue_attempts');
  assert.ok((attempts?.count ?? 0) < 60, `${attempts?.count} attempts`);
  const { FakeWorker } = await import('../support/fake-worker.ts');
  await FakeWorker.connect(t, stage.world, person, [stage.broker], { plugins: ['p'] });
  for (const id of ids) assert.equal((await stage.ended(id, 30_000)).state, 'done');
});

test('an item that waits longer than its max age expires', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.world.addService(stage.owner, 's', { workers: [] });
  const item = await stage.ended(await stage.enqueue({ maxAge: '1500ms' }), 20_000);
  assert.equal(item.state, 'expired');
  assert.equal(item.error, 'TFS_EXPIRED');
  assert.match(item.detail, /longer than its max age/);
});

test('a delayed item runs when its time has come', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.service('s');
  const started = performance.now();
  const item = await stage.ended(await stage.enqueue({ delay: '1s' }));
  assert.equal(item.state, 'done');
  assert.ok(performance.now() - started >= 1000);
});

test('higher priorities go first', async (t) => {
  const stage = await QueueStage.start(t);
  const order: string[] = [];
  await stage.api.sql('select 1');
  const worker = await stage.service('s', (task) => {
    order.push(task.payload.toString());
    setTimeout(() => task.result(), 20);
  });
  await stage.api.sql('update triggerfs.services set queue_concurrency = 1');
  const first = await stage.enqueue({ payload: 'first' });
  await until(() => worker.tasks.length === 1, { what: 'the first one runs' });
  const ids = [first];
  for (const priority of [0, 10, -5, 5]) ids.push(await stage.enqueue({ payload: String(priority), priority, delay: '300ms' }));
  for (const id of ids) await stage.ended(id);
  assert.deepEqual(order, ['first', '10', '5', '0', '-5']);
});

test('caps of a service and of a key are kept', async (t) => {
  const stage = await QueueStage.start(t);
  let running = 0;
  let most = 0;
  const byKey = new Map<string, number>();
  let clash = false;
  await stage.service('s', (task) => {
    const key = task.payload.toString();
    running += 1;
    most = Math.max(most, running);
    if (key !== '' && (byKey.get(key) ?? 0) > 0) clash = true;
    byKey.set(key, (byKey.get(key) ?? 0) + 1);
    setTimeout(() => {
      running -= 1;
      byKey.set(key, (byKey.get(key) as number) - 1);
      task.result();
    }, 15);
  });
  await stage.api.sql('update triggerfs.services set queue_concurrency = 3');
  const second = await stage.another();
  assert.ok(second.url !== stage.api.controlPlane.url);
  const ids = await Promise.all(Array.from({ length: 40 }, () => stage.enqueue({})));
  for (const id of ids) assert.equal((await stage.ended(id)).state, 'done');
  assert.equal(most, 3);
  await stage.api.sql('update triggerfs.services set queue_concurrency = null');
  const keyed = await Promise.all(
    Array.from({ length: 24 }, (_, n) => stage.enqueue({ payload: `k${n % 4}`, concurrencyKey: `k${n % 4}` })),
  );
  for (const id of keyed) assert.equal((await stage.ended(id, 20_000)).state, 'done');
  assert.equal(clash, false);
});

test('a queued item is cancelled at once, a running one at its worker', async (t) => {
  const stage = await QueueStage.start(t);
  const worker = await stage.service('s', (task) => {
    const timer = setInterval(() => {
      if (!task.cancelled) return;
      clearInterval(timer);
      task.result(Verdict.cancelled, 143, ERRORS.TFS_CANCELLED.number);
    }, 10);
    t.after(() => clearInterval(timer));
  });
  const waiting = await stage.enqueue({ delay: '1h' });
  const gone = await stage.api.call(`DELETE /v1/invocations/${waiting}`, { token: stage.token });
  assert.equal(gone.body.state, 'cancelled');
  assert.deepEqual(await stage.api.sql('select from pgboss.job'), []);
  const id = await stage.enqueue({ retries: 5 });
  await until(() => worker.tasks.length === 1, { what: 'it runs' });
  const member = await stage.world.addUser(stage.owner.teamId, 'a', 'somebody', 'member');
  assert.ok(member.id > 0);
  const cancelled = await stage.api.call(`DELETE /v1/invocations/${id}`, { token: stage.token });
  assert.equal(cancelled.body.state, 'cancelled', cancelled.body.detail);
  assert.equal((await stage.api.call(`DELETE /v1/invocations/${id}`, { token: stage.token })).body.state, 'cancelled');
  assert.equal((await stage.api.call(`DELETE /v1/invocations/${randomUUID()}`, { token: stage.token })).status, 404);
});

test('dead letters go back into the queue, one or all of a service', async (t) => {
  const stage = await QueueStage.start(t);
  let good = false;
  await stage.service('s', (task) => task.result(good ? Verdict.ok : Verdict.failed, good ? 0 : 1));
  const ids = await Promise.all(Array.from({ length: 3 }, () => stage.enqueue({})));
  for (const id of ids) assert.equal((await stage.ended(id)).state, 'dead');
  good = true;
  const [first = '', ...rest] = ids;
  assert.equal((await stage.api.call(`POST /v1/invocations/${first}/redrive`, { token: stage.token })).status, 202);
  assert.equal((await stage.ended(first)).state, 'done');
  assert.equal((await stage.api.call(`POST /v1/invocations/${first}/redrive`, { token: stage.token })).status, 409);
  const all = await stage.api.call('POST /v1/queue/redrive', { token: stage.token, body: { service: 'S' } });
  assert.equal(all.body.redriven, 2);
  for (const id of rest) assert.equal((await stage.ended(id)).state, 'done');
  assert.equal((await stage.item(first)).attempts.length, 2);
});

test('triggerfs.invoke belongs to the transaction of its caller, and only to its team', async (t) => {
  const stage = await QueueStage.start(t);
  const worker = await stage.service('s');
  const login = `shop_${randomUUID().slice(0, 8)}`;
  await stage.api.sql(`create role ${login} login password 'shop'`);
  t.after(() => stage.api.sql(`drop owned by ${login}; drop role ${login}`));
  const address = new URL(stage.world.url);
  address.username = login;
  address.password = 'shop';
  const shop = new pg.Client({ connectionString: address.href });
  await shop.connect();
  t.after(() => shop.end());
  await assert.rejects(shop.query(`select triggerfs.invoke('s', 'p')`), /permission denied/);
  await stage.api.sql('select triggerfs.create_application($1, $2)', [login, 'a']);
  await shop.query('begin');
  await shop.query(`select triggerfs.invoke('s', 'p', 'never')`);
  await shop.query('rollback');
  const { rows } = await shop.query<{ id: string }>(
    `select triggerfs.invoke('s', 'p', 'at last', '{"color": "red", "size": 3}', '{"delay": "100ms", "retries": 2}') as id`,
  );
  const id = (rows[0] as { id: string }).id;
  const item = await stage.ended(id);
  assert.equal(item.state, 'done');
  assert.equal(item.source, 'sql');
  assert.equal(item.caller, login);
  assert.equal(item.result?.output, 'at last');
  assert.deepEqual(
    worker.tasks.map((task) => task.payload.toString()),
    ['at last'],
  );
  assert.deepEqual(worker.tasks[0]?.plan.args, { color: 'red', size: '3' });
  const seen = await shop.query('select state, verdict from triggerfs.invocation($1)', [id]);
  assert.deepEqual(seen.rows, [{ state: 'done', verdict: 'ok' }]);
  await assert.rejects(shop.query(`select triggerfs.invoke('other', 'p')`), /service other does not exist in team a/);
  await assert.rejects(shop.query(`select triggerfs.invoke('s', 'p', 'x', '{}', '{"when": "now"}')`), /unknown option 'when'/);
  for (const key of ['', 'k'.repeat(201), 7]) {
    for (const option of ['concurrency_key', 'idempotency_key']) {
      const options = JSON.stringify({ [option]: key });
      await assert.rejects(shop.query(`select triggerfs.invoke('s', 'p', 'x', '{}', $1)`, [options]), /texts of 1 to 200 characters/);
    }
  }
  const keyed = `select triggerfs.invoke('s', 'p', $1, '{}', '{"idempotency_key": "once"}') as id`;
  const once = (await shop.query(keyed, ['first'])).rows;
  assert.deepEqual((await shop.query(keyed, ['first'])).rows, once);
  await assert.rejects(shop.query(keyed, ['second']), /was used for another request/);
  await assert.rejects(shop.query('select * from triggerfs.queue_items'), /permission denied/);
  await shop.query(`set app.team = '2'`);
  assert.equal((await shop.query('select triggerfs.application_team() as team')).rows[0].team, stage.owner.teamId);
});

test('the owner of the database works for the only team, or for the one that is set', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.service('s');
  const invoke = `select triggerfs.invoke('s', 'p', 'x') as id`;
  const [made] = await stage.api.sql<{ id: string }>(invoke);
  assert.equal((await stage.ended(String(made?.id))).state, 'done');
  await stage.world.addTeam('second');
  await assert.rejects(stage.api.sql(invoke), /works for no team/);
  const { rows } = await stage.world.sql.query<{ id: string }>(
    `select triggerfs.invoke('s', 'p', 'x') as id from set_config('app.team', $1, false)`,
    [String(stage.owner.teamId)],
  );
  assert.equal((await stage.ended(String(rows[0]?.id))).state, 'done');
});

test('a late attempt is noted, and overwrites nothing', async (t) => {
  const stage = await QueueStage.start(t);
  const worker = await stage.service('s', () => undefined);
  const id = await stage.enqueue({});
  await until(() => worker.tasks.length === 1, { what: 'the first attempt runs' });
  const other = randomUUID();
  const [claim] = await stage.api.sql<{ action: string; attempt: number }>('select action, attempt from triggerfs.queue_claim($1, $2)', [
    [id],
    other,
  ]);
  assert.deepEqual(claim, { action: 'resume', attempt: 2 });
  worker.tasks[0]?.output('late');
  worker.tasks[0]?.result(Verdict.failed, 1);
  const attempts = await until(
    async () => {
      const { attempts } = await stage.item(id);
      return attempts[0]?.endedAt != null && attempts;
    },
    { what: 'the late attempt is noted' },
  );
  assert.deepEqual(
    attempts.map(({ late, verdict, resumed }) => [late, verdict, resumed]),
    [
      [true, 'failed', false],
      [false, null, true],
    ],
  );
  assert.equal((await stage.item(id)).state, 'running');
  const outcome = JSON.stringify([{ id, attempt: 2, state: 'done', verdict: 'ok', exitCode: 0 }]);
  await stage.api.sql('select triggerfs.queue_settle($1, $2)', [outcome, [null]]);
  assert.equal((await stage.item(id)).state, 'done');
});

test('a local service called with the team in front of its name is still nobody else’s', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.world.addService(stage.owner, 'mine', { visibility: 'local', owner: stage.owner });
  const answer = await stage.accept({ service: 'A/mine', delay: '1h' });
  assert.equal(answer.status, 202, answer.body.detail);
  const item = await stage.item(String(answer.body.id));
  assert.equal(item.service, 'mine');
  const token = await stage.api.tokenOf('admin');
  assert.deepEqual((await stage.api.call('GET /v1/queue', { token })).body.items, []);
  for (const route of [`GET /v1/invocations/${item.id}`, `DELETE /v1/invocations/${item.id}`, `GET /v1/history/${item.id}`]) {
    assert.equal((await stage.api.call(route, { token })).status, 404, route);
  }
  assert.equal((await stage.api.call('POST /v1/invocations', { token, body: { service: 'a/mine', plugin: 'p' } })).status, 404);
});
