import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { ResponseRecorder } from '../../fs/recorder.ts';
import { Responses } from '../../fs/responses.ts';
import { Sender } from '../../fs/sender.ts';
import { Spool } from '../../fs/spool/spool.ts';
import { FileTree } from '../../fs/tree.ts';
import type { TreeTrigger } from '../../protocol/http/tree.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';
import { makeTrigger } from './support/fake-api.ts';
import { FakeUplink } from './support/fake-uplink.ts';

interface Bench {
  readonly folder: string;
  readonly spool: Spool;
  readonly tree: FileTree;
  readonly uplink: FakeUplink;
  readonly responses: Responses;
  readonly sender: Sender;
  readonly printed: string[];
  write(text: string, trigger?: number): void;
  show(...triggers: TreeTrigger[]): void;
}

function setUp(t: TestContext, options: { window?: number; maxAgeMs?: number; folder?: string } = {}): Bench {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'triggerfs-sender-'));
  if (options.folder === undefined) t.after(() => rmSync(folder, { recursive: true, force: true }));
  const spool = Spool.open({ folder, limitBytes: 1e8, log: silentLogger(), onAccepted: (trigger) => sender.notify(trigger) });
  t.after(() => spool.close());
  const tree = new FileTree();
  const show = (...triggers: TreeTrigger[]): void => {
    const directory = { id: 1, path: '/demo', mode: 0o775, updatedAt: new Date().toISOString() };
    tree.replace({ version: tree.version + 1, directories: [directory], triggers });
    sender.wake();
  };
  const uplink = new FakeUplink();
  const responses = new Responses(spool);
  const printed: string[] = [];
  const recorder = new ResponseRecorder(responses, (line) => printed.push(line));
  const { window = 8, maxAgeMs = 60_000 } = options;
  const sender: Sender = new Sender({ spool, tree, uplink, recorder, window, maxAgeMs, log: silentLogger() });
  t.after(() => {
    uplink.connected = false;
    return sender.stop();
  });
  show(makeTrigger(5, '/demo/x'));
  const write = (text: string, trigger = 5): void => {
    spool.message(trigger, Buffer.from(text), 0);
    spool.commit(false);
  };
  return { folder, spool, tree, uplink, responses, sender, printed, write, show };
}

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `m${from + i}`);

test('messages go out in order, as many at once as the window allows', async (t) => {
  const { uplink, write } = setUp(t, { window: 4 });
  for (const text of numbers(0, 10)) write(text);
  await until(() => uplink.sends.length === 4, { what: 'a window of requests' });
  uplink.sends[1]?.ok();
  uplink.sends[0]?.ok();
  await until(() => uplink.sends.length === 6, { what: 'two more' });
  assert.deepEqual(uplink.texts, numbers(0, 6));
  const [rule] = uplink.rules;
  assert.deepEqual(rule, { service: 'demo', plugin: 'echo', args: {}, trigger: 5, ordered: true });
  assert.equal(uplink.rules.length, 1);
  assert.equal(uplink.sends[0]?.options.timeoutMs, 10_000);
});

test('a service that takes nothing blocks the lane; then the oldest goes first and alone', async (t) => {
  const { uplink, write } = setUp(t, { window: 4 });
  for (const text of numbers(0, 8)) write(text);
  await until(() => uplink.sends.length === 4, { what: 'a window of requests' });
  for (const send of [...uplink.sends]) send.done('no-worker', 'TFS_NO_WORKER');
  assert.equal(uplink.sends.length, 4);
  await until(() => uplink.sends.length === 5, { what: 'another try' });
  assert.equal(uplink.sends[4]?.text, 'm0');
  uplink.sends[4]?.ok();
  await until(() => uplink.sends.length === 7, { what: 'two more' });
  assert.deepEqual(uplink.texts.slice(5), ['m1', 'm2']);
  uplink.onSend = (send) => setImmediate(() => send.ok());
  uplink.sends[5]?.ok();
  uplink.sends[6]?.ok();
  await until(() => uplink.sends.length === 12, { what: 'all messages' });
  assert.deepEqual(uplink.texts.slice(4), numbers(0, 8));
});

test('what came back in the middle is sent before everything younger, under its id', async (t) => {
  const { uplink, write } = setUp(t, { window: 3 });
  for (const text of numbers(0, 5)) write(text);
  await until(() => uplink.sends.length === 3, { what: 'a window of requests' });
  const [first, second, third] = uplink.sends;
  second?.done('worker-lost', 'TFS_BROKER_LOST');
  third?.done('busy', 'TFS_BUSY');
  first?.ok();
  uplink.onSend = (send) => setImmediate(() => send.ok());
  await until(() => uplink.sends.length === 7, { what: 'all messages' });
  assert.deepEqual(uplink.texts, ['m0', 'm1', 'm2', 'm1', 'm2', 'm3', 'm4']);
  assert.deepEqual(uplink.sends[3]?.options.invocation, second?.options.invocation);
  assert.equal(uplink.sends[3]?.options.resume, true, 'it may have been executed');
  assert.equal(uplink.sends[4]?.options.resume, false, 'it was refused, so it was not');
});

test('a failed run is an answer and is not sent again', async (t) => {
  const { uplink, write, responses, printed } = setUp(t);
  write('exit 3');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  uplink.sends[0]?.output('no such thing\n', true);
  uplink.sends[0]?.done('failed', null, { exitCode: 3 });
  const response = responses.latest(5);
  assert.equal(response?.verdict, 'failed');
  assert.equal(response?.exitCode, 3);
  assert.equal(String(response?.output), 'no such thing\n');
  assert.equal(printed[0], '[echo@demo01] no such thing');
  assert.match(printed[1] as string, /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d \/demo\/x: failed \(exit code 3, 12\.3ms\)$/);
});

test('a worker that was lost with a message is no answer when another may run it; a run that failed with its worker is', async (t) => {
  const { uplink, write } = setUp(t, { window: 1 });
  write('a');
  write('b');
  await until(() => uplink.sends.length === 1, { what: 'a request' });
  uplink.sends[0]?.done('no-worker', 'TFS_WORKER_LOST');
  await until(() => uplink.sends.length === 2, { what: 'the same again' });
  uplink.sends[1]?.done('failed', 'TFS_DRAINING');
  await until(() => uplink.sends.length === 3, { what: 'the next' });
  assert.deepEqual(uplink.texts, ['a', 'a', 'b']);
});

test('an answer without output is kept but not printed; a refusal says why', async (t) => {
  const { uplink, write, responses, printed } = setUp(t);
  write('quiet');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  uplink.sends[0]?.ok();
  assert.equal(responses.latest(5)?.verdict, 'ok');
  assert.equal(printed.length, 0);
  write('forbidden');
  await until(() => uplink.sends.length === 2, { what: 'the second request' });
  uplink.sends[1]?.done('denied', 'TFS_PLUGIN_NOT_ALLOWED', { exitCode: 77, detail: 'not this plugin' });
  assert.match(printed[0] as string, /\/demo\/x: denied \(exit code 77, .*\): not this plugin$/);
  assert.equal(String(responses.latest(5)?.output), 'triggerfs: denied: not this plugin (TFS_PLUGIN_NOT_ALLOWED)\n');
});

test('output cannot steer the terminal, and lines cut by chunks are printed whole', async (t) => {
  const { uplink, write, printed, responses } = setUp(t);
  write('x');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  const bytes = Buffer.from('größer\ttab\n\u001b]0;title\u0007\nlast');
  for (const byte of bytes) uplink.sends[0]?.output(Buffer.from([byte]));
  uplink.sends[0]?.ok();
  assert.deepEqual(printed.slice(0, 3), ['[echo@demo01] größer\ttab', '[echo@demo01] \\x1b]0;title\\x07', '[echo@demo01] last']);
  assert.deepEqual(responses.latest(5)?.output, bytes);
});

test('without a broker nothing is sent until one is there', async (t) => {
  const { uplink, write, sender } = setUp(t);
  uplink.connected = false;
  write('m0');
  write('m1');
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.deepEqual(uplink.texts, []);
  uplink.connected = true;
  sender.wake();
  assert.deepEqual(uplink.texts, ['m0', 'm1']);
});

test('messages older than max_age are given up with the reason', async (t) => {
  const { uplink, write, spool, folder, responses, printed } = setUp(t, { maxAgeMs: 300 });
  uplink.onSend = (send) => setImmediate(() => send.done('no-worker', 'TFS_NO_WORKER', { detail: 'service demo has no worker online' }));
  write('m0');
  write('m1');
  await until(() => responses.latest(5)?.verdict === 'expired', { what: 'the messages are given up' });
  await until(() => spool.usage.usedBytes === 0, { what: 'nothing waits' });
  assert.match(printed[0] as string, /\/demo\/x: expired: not taken within max_age: service demo has no worker online/);
  spool.settle();
  const database = new DatabaseSync(join(folder, 'spool.db'), { readOnly: true });
  const rows = database.prepare('select path, reason, payload from dead_letters order by id').all();
  database.close();
  assert.deepEqual(
    rows.map(({ payload }) => String(Buffer.from(payload as Uint8Array))),
    ['m0', 'm1'],
  );
  assert.match(String(rows[0]?.reason), /no worker online/);
});

test('a plugin that no worker has is waited for in order, and named when max_age is over', async (t) => {
  const { uplink, write, responses, printed } = setUp(t, { maxAgeMs: 400 });
  const detail = 'no worker of service demo that is online has plugin echo';
  uplink.onSend = (send) =>
    setImmediate(() => (uplink.sends.length < 3 ? send.done('denied', 'TFS_UNKNOWN_PLUGIN', { exitCode: 68, detail }) : send.ok()));
  write('m0');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  write('m1');
  await until(() => uplink.sends.length >= 4, { what: 'both messages' });
  assert.deepEqual(uplink.texts.slice(-2), ['m0', 'm1']);
  await until(() => responses.latest(5)?.verdict === 'ok', { what: 'the answer' });
  uplink.onSend = (send) => setImmediate(() => send.done('denied', 'TFS_UNKNOWN_PLUGIN', { exitCode: 68, detail }));
  write('m2');
  await until(() => responses.latest(5)?.verdict === 'expired', { what: 'the message is given up' });
  assert.match(printed.at(-1) as string, /\/demo\/x: expired: not taken within max_age: no worker .* has plugin echo/);
});

test('an answer after the end sets no timer', async (t) => {
  const { uplink, write, sender } = setUp(t);
  write('m0');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  for (const text of ['m1', 'm2']) write(text);
  await until(() => uplink.sends.length === 3, { what: 'the other requests' });
  const stopped = sender.stop();
  const before = timers();
  uplink.sends[0]?.ok();
  assert.equal(timers(), before);
  for (const send of uplink.sends.slice(1)) send.ok();
  await stopped;
});

test('messages of a trigger that was removed are given up; without a plugin they wait', async (t) => {
  const { uplink, write, show, responses } = setUp(t);
  show(makeTrigger(5, '/demo/x', { plugin: null }), makeTrigger(6, '/demo/y'));
  write('m0');
  write('n0', 6);
  await until(() => uplink.texts.includes('n0'), { what: 'the other trigger is served' });
  assert.deepEqual(uplink.texts, ['n0']);
  show(makeTrigger(5, '/demo/x'), makeTrigger(6, '/demo/y'));
  assert.deepEqual(uplink.texts, ['n0', 'm0']);
  uplink.sends[1]?.ok();
  show(makeTrigger(6, '/demo/y'));
  write('m1');
  await until(() => responses.latest(5)?.verdict === 'expired', { what: 'the removed trigger’s message is given up' });
  assert.deepEqual(uplink.texts, ['n0', 'm0']);
});

test('a changed rule counts from the next message on', async (t) => {
  const { uplink, write, show } = setUp(t);
  write('m0');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  show(makeTrigger(5, '/demo/renamed', { plugin: 'file/append', args: { path: '/tmp/x' } }));
  write('m1');
  await until(() => uplink.sends.length === 2, { what: 'the second request' });
  assert.equal(uplink.sends[1]?.rule.plugin, 'file/append');
  assert.equal(uplink.closed, 1);
});

test('what is on its way at the end is sent again by the next process, marked as possibly executed', async (t) => {
  const first = setUp(t);
  first.write('m0');
  first.write('m1');
  await until(() => first.uplink.sends.length === 2, { what: 'the requests' });
  first.uplink.sends[0]?.ok();
  first.uplink.connected = false;
  await first.sender.stop();
  first.uplink.sends[1]?.done('cancelled', 'TFS_CANCELLED', { runs: 0 });
  first.spool.close();
  const second = setUp(t, { folder: first.folder });
  second.sender.start();
  await until(() => second.uplink.sends.length === 1, { what: 'the request of the earlier process' });
  assert.equal(second.uplink.sends[0]?.text, 'm1');
  assert.equal(second.uplink.sends[0]?.options.resume, true);
  assert.deepEqual(second.uplink.sends[0]?.options.invocation, first.uplink.sends[1]?.options.invocation);
});

test('a client that ended by itself costs nothing: the request is sent again', async (t) => {
  const { uplink, write } = setUp(t);
  write('m0');
  await until(() => uplink.sends.length === 1, { what: 'the request' });
  uplink.epoch = 2;
  uplink.sends[0]?.done('cancelled', 'TFS_CANCELLED', { runs: 0, detail: 'the client was stopped' });
  await until(() => uplink.sends.length === 2, { what: 'the request again' });
  assert.equal(uplink.sends[1]?.options.resume, true);
  assert.equal(uplink.rules.length, 2, 'routes of the ended client are void');
});

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}
