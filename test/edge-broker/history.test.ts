import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Verdict } from '../../protocol/verdicts.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import type { FakeTask } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { HistoryStage } from './history-stage.ts';

test('what ran is in the tables: who, what, how it ended, and every byte in order', async (t) => {
  const binary = randomBytes(300);
  const stage = await HistoryStage.start(t, {
    worker: {
      onTask: (task) => {
        task.started();
        task.output('\u001b[31mred\u001b[0m\n');
        task.output(Buffer.from([0, 1, 0xff, 0xc3, 0x28]), true);
        task.output(binary);
        task.output('no newline', true);
        task.result(Verdict.failed, 3);
      },
    },
  });
  const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: Buffer.from('in\0put'), args: { path: '/a\u0000b' } });
  for await (const _ of invocation);
  const outcome = await invocation.outcome;
  const id = (await invocation.manifest)?.invocation ?? '';
  const row = await stage.stored(id);
  assert.equal(row.broker_id, stage.broker.id);
  assert.deepEqual(
    [row.team_id, row.service, row.plugin, row.algorithm, row.source, row.caller, row.trigger_id, row.schedule_id, row.item_id],
    [stage.owner.teamId, 'svc', 'echo', 'roundrobin', 'client', 'alpha-owner', null, null, null],
  );
  assert.deepEqual([row.verdict, row.exit_code, row.error, row.expected], [outcome.verdict, outcome.exitCode, null, 1]);
  assert.deepEqual(row.args, { path: '/a\ufffdb' });
  assert.equal(Number(row.output_bytes), 13 + 5 + 300 + 10);
  assert.equal(row.payload_bytes, 6);
  assert.equal((await stage.payload(row))?.toString(), 'in\0put');
  assert.ok(row.ended_at !== null && row.ended_at >= row.accepted_at);
  const [run, ...others] = await stage.runs();
  assert.deepEqual(others, []);
  assert.deepEqual(
    [run?.worker_id, run?.identity, run?.attempt, run?.verdict, run?.exit_code, Number(run?.output_bytes)],
    [stage.people[0]?.id, 'worker1', 0, 'failed', 3, 328],
  );
  const pieces = await stage.output(id);
  assert.deepEqual(
    pieces.map(({ stream, data }) => [stream, data.toString('latin1')]),
    [
      ['stdout', '\u001b[31mred\u001b[0m\n'],
      ['stderr', '\u0000\u0001\u00ff\u00c3('],
      ['stdout', binary.toString('latin1')],
      ['stderr', 'no newline'],
    ],
  );
});

test('five megabytes come back byte for byte, in blocks of 64 KiB and without gaps', async (t) => {
  const whole = randomBytes(5 * 1024 * 1024);
  const sent: Buffer[] = [];
  const stage = await HistoryStage.start(t, {
    worker: {
      onTask: (task) => {
        task.started();
        let at = 0;
        let n = 0;
        const pump = (): void => {
          while (at < whole.length) {
            const size = Math.min([70, 9_000, 64 * 1024][n % 3] as number, task.credit);
            if (size <= 0) {
              if (!task.cancelled) setTimeout(pump, 1);
              return;
            }
            const piece = whole.subarray(at, at + size);
            task.output(piece, n % 5 === 4);
            sent.push(piece);
            at += piece.length;
            n += 1;
          }
          task.result();
        };
        pump();
      },
    },
  });
  const id = await stage.call();
  await stage.stored(id);
  const pieces = await stage.output(id);
  assert.ok(Buffer.concat(pieces.map(({ data }) => data)).equals(whole));
  assert.equal(pieces.length, sent.length);
  assert.ok(pieces.every(({ stream }, n) => stream === (n % 5 === 4 ? 'stderr' : 'stdout')));
  const numbers = [...new Set(pieces.map(({ block }) => block))];
  assert.deepEqual(numbers, [...numbers.keys()], 'numbered from 0 without gaps');
  assert.ok(numbers.length >= 80);
});

test('a running invocation can be found and read; nothing is lost that comes later', async (t) => {
  let running: FakeTask | null = null;
  const stage = await HistoryStage.start(t, {
    worker: {
      onTask: (task) => {
        running = task;
        task.started();
        task.output('first\n');
      },
    },
  });
  const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' });
  const id = (await until(async () => (await stage.invocations())[0], { what: 'the accepted row' })).id;
  await until(async () => (await stage.output(id)).length === 1, { what: 'its output so far' });
  const [row] = await stage.invocations();
  assert.deepEqual([row?.verdict, row?.ended_at, row?.exit_code], [null, null, null]);
  const [run] = await stage.runs();
  assert.deepEqual([run?.verdict, run?.identity], [null, 'worker1']);
  const task = running as unknown as FakeTask;
  task.output('second\n', true);
  task.result();
  await invocation.outcome;
  assert.equal((await stage.stored(id)).verdict, 'ok');
  assert.deepEqual(
    (await stage.output(id)).map(({ data, block }) => [data.toString(), block]),
    [
      ['first\n', 0],
      ['second\n', 1],
    ],
  );
  assert.equal((await stage.runs())[0]?.verdict, 'ok');
});

test('off keeps nothing, meta keeps what ran but not what it said', async (t) => {
  for (const history of ['off', 'meta'] as const) {
    await t.test(history, async (t) => {
      const stage = await HistoryStage.start(t, { history });
      const id = await stage.call('secret input');
      if (history === 'off') {
        await stage.world.sql.query(`update triggerfs.services set history = 'meta'`);
        await stage.broker.directory.sync();
        const later = await stage.call();
        await stage.stored(later);
        assert.deepEqual(
          (await stage.invocations()).map((row) => row.id),
          [later],
        );
        return;
      }
      const row = await stage.stored(id);
      assert.deepEqual([row.payload, row.payload_bytes, Number(row.output_bytes)], [null, 12, 12]);
      assert.deepEqual((await stage.runs()).length, 1);
      assert.deepEqual(await stage.output(id), []);
    });
  }
});

test('a trigger file has its own say, over its own messages only', async (t) => {
  const stage = await HistoryStage.start(t, {});
  const { sql } = stage.world;
  const { rows } = await sql.query<{ id: number }>(
    `with d as (insert into triggerfs.directories (team_id, path) values ($1, '/d') returning id)
     insert into triggerfs.triggers (team_id, directory_id, name, service_id, plugin, history)
     select $1, d.id, 'file', s.id, 'echo', 'off' from d, triggerfs.services s where s.name = 'svc' returning id`,
    [stage.owner.teamId],
  );
  const trigger = (rows[0] as { id: number }).id;
  await stage.broker.directory.sync();
  const ids = new InvocationIds();
  const call = async (plugin: string): Promise<string> => {
    const invocation = ids.next();
    const route = stage.client.route({ service: 'svc', plugin, trigger });
    await new Promise<void>((resolve) => route.send(Buffer.from('x'), { done: () => resolve() }, { invocation }));
    return formatInvocationId(invocation);
  };
  await call('echo');
  const other = await call('command/command');
  const row = await stage.stored(other);
  assert.deepEqual([row.source, row.trigger_id], ['fs', trigger]);
  assert.equal((await stage.invocations()).length, 1, 'the message of the file itself is not kept');
  await sql.query(`update triggerfs.triggers set history = 'meta'`);
  await stage.broker.directory.sync();
  const kept = await stage.stored(await call('echo'));
  assert.deepEqual([kept.payload, kept.source], [null, 'fs']);
  await sql.query('update triggerfs.triggers set history = null');
  await stage.broker.directory.sync();
  assert.notEqual((await stage.stored(await call('echo'))).payload, null);
});

test('several workers: a run each, skipped ones too, and the worst verdict for the whole', async (t) => {
  const stage = await HistoryStage.start(t, {
    workers: 3,
    service: { algorithm: 'serial' },
    worker: {
      onTask: (task) => {
        task.started();
        task.result(Verdict.failed, task.payload.length);
      },
    },
  });
  const row = await stage.stored(await stage.call('12345'));
  assert.deepEqual([row.verdict, row.exit_code, row.expected, row.algorithm], ['failed', 5, 3, 'serial']);
  assert.deepEqual(
    (await stage.runs()).map((run) => [run.identity, run.verdict, run.exit_code]),
    [
      ['worker1', 'failed', 5],
      ['worker2', 'cancelled', 0],
      ['worker3', 'cancelled', 0],
    ],
  );
});

test('refusals of the broker itself are kept with their reason', async (t) => {
  const stage = await HistoryStage.start(t, { worker: { plugins: ['other'] } });
  const row = await stage.stored(
    await stage.call('x', 'echo').then(async () => (await until(async () => (await stage.invocations())[0], { what: 'a row' })).id),
  );
  assert.deepEqual([row.verdict, row.error], ['denied', 'TFS_UNKNOWN_PLUGIN']);
  assert.match(row.detail ?? '', /has plugin echo/);
  assert.deepEqual(await stage.runs(), []);
});

test('an attempt that moved on is a run of its own', async (t) => {
  const stage = await HistoryStage.start(t, {
    workers: 2,
    service: { failover: 'always' },
    worker: {
      onTask: (task, worker) => {
        task.started();
        task.output(`attempt ${task.attempt}\n`);
        if (task.attempt === 0) setTimeout(() => worker.kill(), 50);
        else task.result();
      },
    },
  });
  const row = await stage.stored(await stage.call());
  assert.equal(row.verdict, 'ok');
  const runs = await stage.runs();
  assert.deepEqual(runs.map((run) => [run.attempt, run.verdict, run.error]).sort(), [
    [0, 'worker-lost', 'TFS_WORKER_LOST'],
    [1, 'ok', null],
  ]);
  assert.deepEqual((await stage.output(row.id)).map(({ attempt, data }) => `${attempt}: ${data}`).sort(), [
    '0: attempt 0\n',
    '1: attempt 1\n',
  ]);
});

test('nothing of what went in or came out can be read in the tables', async (t) => {
  const stage = await HistoryStage.start(t);
  const canary = 'canary-7f3a-of-the-history';
  const id = await stage.call(Buffer.concat([Buffer.from(canary), Buffer.alloc(2000, canary)]));
  await stage.stored(id);
  assert.ok(Buffer.concat((await stage.output(id)).map(({ data }) => data)).includes(canary), 'it is there for those with the key');
  const dump = await stage.dump();
  assert.ok(dump.includes(id), 'the dump holds the rows');
  for (const form of [canary, Buffer.from(canary).toString('hex'), Buffer.from(canary).toString('base64').slice(0, 30)]) {
    assert.ok(!dump.includes(form), form);
  }
});

test('the history never notifies anybody', async (t) => {
  const stage = await HistoryStage.start(t);
  const { rows } = await stage.world.sql.query<{ sources: string }>(
    `select string_agg(prosrc, ' ') as sources from pg_trigger g join pg_proc p on p.oid = g.tgfoid
     where g.tgrelid in ('triggerfs.invocations'::regclass, 'triggerfs.runs'::regclass, 'triggerfs.outputs'::regclass)`,
  );
  assert.equal(rows[0]?.sources, null, 'the tables have no triggers');
  const listener = await stage.connect(t);
  const heard: string[] = [];
  listener.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`));
  const { rows: channels } = await listener.query<{ name: string }>(
    `select distinct m[1] as name from pg_proc p, regexp_matches(p.prosrc, 'pg_notify\\(\\s*''([^'']+)''', 'g') m`,
  );
  const names = channels.map(({ name }) => name);
  assert.ok(names.includes('triggerfs_config'));
  for (const name of names) await listener.query(`listen "${name}"`);
  await stage.world.sql.query(`notify triggerfs_config, 'probe'`);
  await until(async () => heard.includes('triggerfs_config probe'), { what: 'the listener hears' });
  heard.length = 0;
  const ids = await Promise.all(Array.from({ length: 50 }, () => stage.call()));
  for (const id of ids) await stage.stored(id);
  await stage.world.sql.query(`notify triggerfs_config, 'end'`);
  await until(async () => heard.includes('triggerfs_config end'), { what: 'the listener hears the end' });
  assert.deepEqual(heard, ['triggerfs_config end']);
});
