import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { KeptPosition } from '../../edge-broker/gateway/kept/kept-position.ts';
import type { KeptLine } from '../../protocol/http/gateway-kept.ts';
import type { InvocationAnswer } from '../../protocol/http/invocation.ts';
import type { FakeTask } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { HookStage } from './hook-stage.ts';
import { KeptStage, OK } from './kept-stage.ts';

interface Event {
  readonly id: string | undefined;
  readonly line: KeptLine;
}

interface Stream {
  readonly status: number;
  readonly events: Event[];
  readonly text: string;
}

/** Pieces that cut characters in both streams, bytes that are no text, and zeros. */
const PIECES: readonly (readonly [Buffer, boolean])[] = [
  [Buffer.from('one\n'), false],
  [Buffer.from([0x61, 0xe2, 0x82]), false],
  [Buffer.from([0x62, 0xc3]), true],
  [Buffer.from([0xac, 0x7a, 0xf0, 0x9f]), false],
  [Buffer.from([0xbc]), true],
  [Buffer.from([0x98]), false],
  [Buffer.from([0x80, 0x0a]), false],
  [Buffer.from([0xff, 0x00, 0xfe]), false],
  [Buffer.from('an end that is cut: \xe2'.slice(0, -1)), true],
  [Buffer.from([0xe2, 0x82]), true],
];

function print(task: FakeTask): void {
  task.started();
  for (const [data, stderr] of PIECES) task.output(data, stderr);
  task.result();
}

async function read(url: string, headers: Record<string, string>): Promise<Stream> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...headers } });
  const text = await response.text();
  return { status: response.status, text, events: eventsOf(text) };
}

function eventsOf(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => /^data: /m.test(block))
    .map((block) => ({ id: /^id: (.*)$/m.exec(block)?.[1], line: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '') }));
}

function bytesOf(events: readonly Event[], stream: 'stdout' | 'stderr'): Buffer {
  return Buffer.concat(
    events.map(({ line }) =>
      line.event === 'output' && line.stream === stream ? Buffer.from(line.data, line.encoding ?? 'utf8') : Buffer.alloc(0),
    ),
  );
}

/** An accepted invocation that has ended, with its output in the history. */
async function ended(hooks: HookStage): Promise<{ kept: KeptStage; id: string }> {
  const kept = new KeptStage(hooks);
  const { stage } = hooks;
  const { invocation } = (await stage.ask()).answer as InvocationAnswer;
  const { id } = (await kept.post({ prefer: 'respond-async' })).body as { id: string };
  await until(
    async () =>
      (await stage.world.sql.query('select from triggerfs.invocations where id = $1 and verdict is not null', [invocation])).rowCount,
    {
      what: 'the history',
    },
  );
  await kept.settle(id, OK, 'done', invocation);
  return { kept, id };
}

suite('a reader that comes back', () => {
  test('goes on after the event that it names, at any broker, also when all has ended', async (t) => {
    const hooks = await HookStage.create(t, { onTask: print });
    const { stage } = hooks;
    const { id } = await ended(hooks);
    const other = await stage.world.broker('other');
    const authorization = `Bearer ${stage.token}`;
    const [here, there] = [stage.broker, other].map(({ gatewayUrl }) => `${gatewayUrl}/v1/invocations/${id}`) as [string, string];
    const whole = await read(here, { authorization });
    assert.deepEqual([...new Set(whole.events.map(({ line }) => line.event))], ['invocation', 'output', 'verdict', 'done']);
    for (const stream of ['stdout', 'stderr'] as const) {
      const wanted = Buffer.concat(PIECES.filter(([, stderr]) => stderr === (stream === 'stderr')).map(([data]) => data));
      assert.deepEqual(bytesOf(whole.events, stream), wanted, stream);
    }
    assert.ok(whole.events.every(({ id: event }) => event !== undefined && /^[\x21-\x7e]+$/.test(event)));
    for (const [index, event] of whole.events.slice(0, -1).entries()) {
      const rest = await read(there, { authorization, 'last-event-id': event.id ?? '' });
      assert.deepEqual(rest.events, whole.events.slice(index + 1), `after ${event.id}`);
    }
    const last = whole.events.at(-1)?.id ?? '';
    assert.deepEqual([(await read(there, { authorization, 'last-event-id': last })).status, last], [204, '1!']);
    const middle = whole.events[3]?.id ?? '';
    const lines = await (await fetch(`${there}?after=${middle}`, { headers: { authorization, accept: 'application/x-ndjson' } })).text();
    const read2 = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter(({ event }) => event !== 'ping');
    assert.deepEqual(
      read2.map(({ cursor, ...line }) => ({ id: cursor, line })),
      whole.events.slice(4),
      'lines have cursors',
    );
    for (const wrong of [
      'nonsense',
      '1_',
      '1_1.0.0',
      '1_99999999999.0.0.0',
      '1_1.0.9999999999.0',
      'zAAAA',
      '-1',
      '1!_1.0.0.0x',
      '1_1.0.0.0o123456789',
      '1_1.0.0.0oe2e',
    ]) {
      assert.equal((await read(here, { authorization, 'last-event-id': wrong })).status, 400, wrong);
    }
    // Another attempt, by redrive: who had everything of the first reads the second.
    await stage.world.sql.query('update triggerfs.queue_items set attempt = 2 where id = $1', [id]);
    assert.deepEqual((await read(here, { authorization, 'last-event-id': last })).events[0]?.line.event, 'invocation');
  });

  test('loses and repeats nothing while the plugin runs, however often it comes back', async (t) => {
    let task: FakeTask | null = null;
    const hooks = await HookStage.create(t, {
      onTask: (given) => {
        given.started();
        task = given;
      },
    });
    const { stage } = hooks;
    const kept = new KeptStage(hooks);
    const other = await stage.world.broker('other');
    const authorization = `Bearer ${stage.token}`;
    const { id } = (await kept.post({ prefer: 'respond-async' })).body as { id: string };
    const running = stage.ask();
    const runs = await until(() => task, { what: 'the task' });
    const invocation = await until(
      async () => (await stage.world.sql.query('select id from triggerfs.invocations')).rows[0]?.id as string,
      { what: 'the history' },
    );
    await stage.world.sql.query("update triggerfs.queue_items set state = 'running', attempt = 1, invocation_id = $2 where id = $1", [
      id,
      invocation,
    ]);
    const events: Event[] = [];
    let sent = 0;
    for (let round = 0; round < 6; round += 1) {
      const gateway = [stage.broker, other][round % 2]?.gatewayUrl;
      const leaving = new AbortController();
      const last = events.at(-1)?.id;
      const response = await fetch(`${gateway}/v1/invocations/${id}`, {
        headers: { authorization, accept: 'text/event-stream', ...(last === undefined ? {} : { 'last-event-id': last }) },
        signal: leaving.signal,
      });
      for (const end = sent + 5; sent < end; sent += 1) runs.output(Buffer.from(`${sent + 1}€\n`));
      const wanted = (round + 1) * 5 - 2;
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      let text = '';
      const here: Event[] = [];
      while (events.length + here.length < wanted) {
        const { value, done } = await reader.read();
        assert.equal(done, false);
        text += Buffer.from(value as Uint8Array).toString();
        here.splice(0, here.length, ...eventsOf(text.slice(0, text.lastIndexOf('\n\n') + 2)));
      }
      events.push(...here);
      leaving.abort();
    }
    runs.result();
    await running;
    await kept.settle(id, OK, 'done', invocation);
    const rest = await read(`${other.gatewayUrl}/v1/invocations/${id}`, { authorization, 'last-event-id': events.at(-1)?.id ?? '' });
    const all = [...events, ...rest.events];
    assert.equal(bytesOf(all, 'stdout').toString(), Array.from({ length: sent }, (_, n) => `${n + 1}€\n`).join(''));
    assert.deepEqual(
      all.map(({ line }) => line.event).filter((event) => event !== 'output'),
      ['invocation', 'verdict', 'done'],
    );
  });

  test('is told what to do when the output is not kept any more', async (t) => {
    const hooks = await HookStage.create(t, { onTask: print });
    const { stage } = hooks;
    const { kept, id } = await ended(hooks);
    const authorization = `Bearer ${stage.token}`;
    const url = `${stage.broker.gatewayUrl}/v1/invocations/${id}`;
    const [, output] = (await read(url, { authorization })).events;
    for (const table of ['outputs', 'runs', 'invocations']) await stage.world.sql.query(`delete from triggerfs.${table}`);
    const gone = await kept.get(`/v1/invocations/${id}`, { accept: 'text/event-stream', 'last-event-id': output?.id ?? '' });
    assert.deepEqual([gone.status, gone.body.code], [409, 'TFS_NOT_KEPT']);
    assert.match(gone.body.detail ?? '', /without Last-Event-ID tells how it ended/);
    // Who comes for the first time gets what the queue has.
    const first = await read(url, { authorization });
    assert.deepEqual(
      first.events.map(({ line }) => line.event),
      ['invocation', 'output', 'verdict', 'done'],
    );
    assert.equal(bytesOf(first.events, 'stdout').toString(), 'done\n');
    const rest = await read(url, { authorization, 'last-event-id': first.events[1]?.id ?? '' });
    assert.deepEqual(rest.events, first.events.slice(2));
  });

  test('to a live answer starts nothing again', async (t) => {
    const hooks = await HookStage.create(t, { onTask: print, service: { http: { methods: ['GET', 'POST'], plugin: 'echo' } } });
    const { stage } = hooks;
    const authorization = `Bearer ${stage.token}`;
    const first = await read(stage.url(), { authorization });
    const ids = first.events.map(({ id }) => id).filter((id) => id !== undefined);
    const [manifest] = first.events.map(({ line }) => line as { invocation?: string });
    assert.deepEqual(ids, [manifest?.invocation, `${manifest?.invocation}!`]);
    const back = await read(stage.url(), { authorization, 'last-event-id': ids[0] ?? '' });
    const problem = JSON.parse(back.text);
    assert.deepEqual([back.status, problem.code], [409, 'TFS_NOT_KEPT']);
    assert.ok(problem.detail.includes(`/v1/history/${manifest?.invocation}/output`));
    assert.equal((await read(stage.url(), { authorization, 'last-event-id': ids[1] ?? '' })).status, 204);
    assert.equal((await read(stage.url(), { authorization, 'last-event-id': 'nonsense' })).status, 400);
    assert.equal(stage.worker.tasks.length, 1);
  });
});

test('a position is the same after it was written down, with many runs too', () => {
  const position = KeptPosition.parse('3tv2_7.0.12.3oe261re282');
  assert.equal(position.toString(), '3tv2_7.0.12.3oe261re282');
  for (let worker = 1; worker <= 500; worker += 1)
    position.advance({ run: `${worker}.0`, worker: '', block: worker * 7, index: 0, last: false });
  const text = position.toString();
  assert.ok(text.length < 8_192 && text.startsWith('z'), `${text.length}`);
  assert.equal(KeptPosition.parse(text).toString(), text);
});
