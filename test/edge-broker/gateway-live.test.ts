import assert from 'node:assert/strict';
import { request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { LiveAnswer } from '../../edge-broker/gateway/live-answer.ts';
import { liveFormatOf } from '../../edge-broker/gateway/live-format.ts';
import type { InvocationEvent, OutputEvent } from '../../protocol/http/invocation.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { FakeTask } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { GatewayStage } from './gateway-stage.ts';

const LINES = { accept: 'application/x-ndjson' };

/** Reads the lines of a live answer as they come. */
class Lines {
  readonly events: InvocationEvent[] = [];
  ended = false;
  #rest = '';

  constructor(response: Response) {
    void this.#read(response);
  }

  of<T extends InvocationEvent['event']>(event: T): Extract<InvocationEvent, { event: T }>[] {
    return this.events.filter((each): each is Extract<InvocationEvent, { event: T }> => each.event === event);
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body ?? []) {
        this.#rest += decoder.decode(chunk, { stream: true });
        const lines = this.#rest.split('\n');
        this.#rest = lines.pop() ?? '';
        this.events.push(...lines.map((line) => JSON.parse(line) as InvocationEvent));
      }
    } catch {
      // The reader aborted.
    }
    this.ended = true;
  }
}

/** A stage whose only worker starts tasks and leaves the rest to the test. */
function quietStage(t: TestContext, timeoutMs: number = LIMITS.defaultTimeoutMs): Promise<GatewayStage> {
  return GatewayStage.create(t, { onTask: (task) => task.started(), service: { timeoutMs } });
}

async function firstTask(stage: GatewayStage): Promise<FakeTask> {
  return until(() => stage.worker.tasks[0], { what: 'the task' });
}

test('events arrive as they happen, long before the plugin ends', async (t) => {
  const stage = await quietStage(t);
  const response = await stage.post({ headers: LINES });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
  assert.equal(response.headers.get('x-accel-buffering'), 'no');
  const lines = new Lines(response);
  const task = await firstTask(stage);
  const [manifest] = await until(() => lines.events.length === 1 && lines.events, { what: 'the manifest' });
  const { invocation, ...rest } = manifest as InvocationEvent & { invocation: string };
  assert.equal(invocation, task.invocation);
  assert.equal(response.headers.get('x-triggerfs-invocation'), invocation);
  assert.deepEqual(rest, {
    event: 'manifest',
    service: 'alpha/svc',
    plugin: 'echo',
    algorithm: 'roundrobin',
    attempt: 0,
    expected: 1,
    workers: ['worker1'],
  });
  task.output('one\n');
  await until(() => lines.of('output').length === 1, { what: 'the first line', timeoutMs: 1000 });
  task.output('two\n', true);
  await until(() => lines.of('output').length === 2, { what: 'the second line', timeoutMs: 1000 });
  assert.deepEqual(lines.of('output'), [
    { event: 'output', worker: 'worker1', stream: 'stdout', sequence: 0, data: 'one\n' },
    { event: 'output', worker: 'worker1', stream: 'stderr', sequence: 1, data: 'two\n' },
  ]);
  assert.equal(lines.of('verdict').length, 0);
  task.result(Verdict.failed, 5);
  await until(() => lines.ended, { what: 'the end' });
  const ended = { exitCode: 5, signal: 0, attempt: 0, durationMs: 0, error: null, detail: '' };
  assert.deepEqual(lines.of('verdict'), [{ event: 'verdict', worker: 'worker1', verdict: 'failed', ...ended }]);
  const [done] = lines.of('done');
  assert.deepEqual([done?.verdict, done?.exitCode, done?.runs, done?.error], ['failed', 5, 1, null]);
  assert.equal(lines.events.at(-1), done);
});

test('an event stream has one named event for each', async (t) => {
  const stage = await GatewayStage.create(t);
  const response = await stage.post({
    headers: { accept: 'text/event-stream' },
    body: JSON.stringify({ plugin: 'echo', payload: 'a\nb' }),
  });
  assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  const blocks = (await response.text()).trimEnd().split('\n\n');
  const names = blocks.map((block) => {
    const [, id, name, data] = /^(?:id: (\S+)\n)?event: (\w+)\ndata: (.*)$/.exec(block) as unknown as [string, string, string, string];
    assert.equal((JSON.parse(data) as InvocationEvent).event, name);
    return [name, id];
  });
  const invocation = response.headers.get('x-triggerfs-invocation');
  assert.deepEqual(names, [
    ['manifest', invocation],
    ['output', undefined],
    ['verdict', undefined],
    ['done', `${invocation}!`],
  ]);
});

test('what ends before any worker is asked has its status, live or not', async (t) => {
  const stage = await GatewayStage.create(t);
  const response = await stage.post({ headers: LINES, body: JSON.stringify({ plugin: 'unknown' }) });
  assert.equal(response.status, 404);
  assert.equal(((await response.json()) as { code: string }).code, 'TFS_UNKNOWN_PLUGIN');
  assert.equal(response.headers.get('x-triggerfs-verdict'), 'denied');
});

test('a reader that leaves cancels the run', async (t) => {
  const stage = await quietStage(t);
  const abort = new AbortController();
  const response = await stage.post({ headers: LINES, signal: abort.signal });
  const lines = new Lines(response);
  const task = await firstTask(stage);
  task.output('x');
  await until(() => lines.of('output').length === 1, { what: 'output' });
  abort.abort();
  await until(() => task.cancelled, { what: 'the task is cancelled' });
  task.output('more that nobody reads');
  task.result(Verdict.cancelled);
  await until(() => stage.broker.dispatcher.openRuns === 0, { what: 'the run has ended' });
});

test('characters are never cut, and bytes that are none come as base64', async (t) => {
  const stage = await quietStage(t);
  const lines = new Lines(await stage.post({ headers: LINES }));
  const task = await firstTask(stage);
  const text = Buffer.from('a€😀');
  for (const byte of text) task.output(Buffer.from([byte]));
  task.output(Buffer.from([0xc3]), true);
  task.output(Buffer.from([0xff, 0x00, 0x80]));
  task.output(Buffer.from('€').subarray(0, 2));
  task.result();
  await until(() => lines.ended, { what: 'the end' });
  const outputs = lines.of('output').map(({ stream, data, encoding }: OutputEvent) => [stream, encoding ?? 'text', data]);
  assert.deepEqual(outputs, [
    ['stdout', 'text', 'a'],
    ['stdout', 'text', '€'],
    ['stdout', 'text', '😀'],
    ['stdout', 'base64', Buffer.from([0xff, 0x00, 0x80]).toString('base64')],
    ['stdout', 'base64', Buffer.from([0xe2, 0x82]).toString('base64')],
    ['stderr', 'base64', Buffer.from([0xc3]).toString('base64')],
  ]);
});

test('a slow reader is granted output slowly, and gets all of it', async (t) => {
  const total = 24 * 1024 * 1024;
  const chunk = Buffer.alloc(16 * 1024, 'y');
  let sent = 0;
  const stage = await quietStage(t, 60_000);
  const { port, hostname } = new URL(stage.broker.gatewayUrl);
  const path = new URL(stage.url('alpha/svc', { plugin: 'echo' })).pathname;
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    const headers = { ...LINES, authorization: `Bearer ${stage.token}`, 'content-type': 'application/json' };
    const asked = request({ hostname, port, path, method: 'POST', headers }, resolve).on('error', reject);
    asked.end(JSON.stringify({ plugin: 'echo' }));
  });
  const task = await firstTask(stage);
  const pump = setInterval(() => {
    for (; sent < total && task.credit >= chunk.length; sent += chunk.length) task.output(chunk);
    if (sent === total) {
      clearInterval(pump);
      task.result();
    }
  }, 1);
  t.after(() => clearInterval(pump));
  // Nobody reads yet: sockets' buffers fill, then the credit is not renewed any more.
  let before = -1;
  await until(
    async () => {
      const still = sent === before;
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 250));
      return still && sent > 0;
    },
    { what: 'the worker has to wait' },
  );
  assert.ok(sent < total, 'the worker was held back');
  assert.ok(task.credit < chunk.length);
  assert.ok(task.credit >= 0, 'no more was sent than granted');
  assert.ok(LIMITS.initialCreditBytes > chunk.length);
  let received = 0;
  let rest = '';
  for await (const piece of response) {
    rest += piece;
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = JSON.parse(line) as InvocationEvent;
      if (event.event === 'output') received += event.data.length;
    }
  }
  assert.equal(received, total);
});

test('a quiet stream is kept alive', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  for (const [accept, ping] of [
    ['text/event-stream', ': ping\n\n'],
    ['application/x-ndjson', '{"event":"ping"}\n'],
  ] as const) {
    const format = liveFormatOf(accept);
    assert.ok(format !== null);
    const answer = new LiveAnswer(format, 'alpha/svc', 'echo');
    t.mock.timers.tick(15_000);
    t.mock.timers.tick(15_000);
    assert.equal(String(answer.read()), ping + ping);
    answer.output({ worker: 1, identity: 'w', stream: 'stdout', sequence: 0, data: Buffer.from('x') });
    answer.read();
    t.mock.timers.tick(15_000);
    assert.equal(answer.read(), null);
    answer.destroy();
    t.mock.timers.tick(30_000);
    assert.equal(answer.read(), null);
  }
});

test('the Accept header decides about the form of the answer', () => {
  const types = (accept?: string): string | undefined => liveFormatOf(accept)?.contentType.split(';')[0];
  assert.equal(types(undefined), undefined);
  assert.equal(types('*/*'), undefined);
  assert.equal(types('application/json, text/event-stream'), undefined);
  assert.equal(types('Text/Event-Stream'), 'text/event-stream');
  assert.equal(types('text/html, application/x-ndjson;q=0.5'), 'application/x-ndjson');
  assert.equal(types('text/event-stream;q=0, application/ndjson'), 'application/x-ndjson');
  assert.equal(types('constructor'), undefined);
});
