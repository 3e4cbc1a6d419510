import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { FsError } from '../../fs/errno.ts';
import type { Message } from '../../fs/spool/message.ts';
import { Spool, type SpoolOptions } from '../../fs/spool/spool.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-spool-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function open(t: TestContext, folder: string, options: Partial<SpoolOptions> = {}): Spool {
  const spool = Spool.open({ folder, limitBytes: 1e9, log: silentLogger(), onAccepted: () => undefined, ...options });
  t.after(() => spool.close());
  return spool;
}

function accept(spool: Spool, trigger: number, text: string): void {
  spool.message(trigger, Buffer.from(text), 0);
  spool.commit(false);
}

function takeAll(spool: Spool, trigger: number): Message[] {
  const messages: Message[] = [];
  for (let message = spool.next(trigger); message !== null; message = spool.next(trigger)) messages.push(message);
  return messages;
}

const texts = (messages: readonly Message[]): string[] => messages.map(({ payload }) => String(payload));

test('messages come back in order, each trigger apart, with rising unique ids', (t) => {
  const spool = open(t, temporaryFolder(t));
  for (let i = 0; i < 10; i += 1) accept(spool, 1 + (i % 2), `m${i}`);
  assert.deepEqual(texts(takeAll(spool, 1)), ['m0', 'm2', 'm4', 'm6', 'm8']);
  const others = takeAll(spool, 2);
  assert.deepEqual(texts(others), ['m1', 'm3', 'm5', 'm7', 'm9']);
  assert.equal(new Set(others.map(({ invocation }) => invocation.toString('hex'))).size, 5);
  assert.equal(spool.next(3), null);
});

test('a queue far beyond memory keeps order and ends in step', (t) => {
  const spool = open(t, temporaryFolder(t));
  const count = 5000;
  for (let i = 0; i < count; i += 1) accept(spool, 1, `m${i}`);
  const seen: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const message = spool.next(1) as Message;
    seen.push(String(message.payload));
    assert.equal(message.resume, false);
    spool.done(message);
    if (i === 2500) accept(spool, 1, 'late');
  }
  assert.deepEqual(
    seen.slice(0, count),
    Array.from({ length: count }, (_, i) => `m${i}`),
  );
  assert.deepEqual(texts(takeAll(spool, 1)), ['late']);
  accept(spool, 1, 'again');
  assert.deepEqual(texts(takeAll(spool, 1)), ['again']);
});

test('what was not answered is there after closing and opening, with its id and marked as possibly sent', (t) => {
  const folder = temporaryFolder(t);
  const first = open(t, folder);
  for (let i = 0; i < 5; i += 1) accept(first, 7, `m${i}`);
  const [m0, m1] = takeAll(first, 7) as [Message, Message];
  first.done(m0);
  first.close();
  const second = open(t, folder);
  assert.deepEqual(second.triggers, [7]);
  const messages = takeAll(second, 7);
  assert.deepEqual(texts(messages), ['m1', 'm2', 'm3', 'm4']);
  assert.deepEqual(messages[0]?.invocation, m1.invocation);
  assert.ok(messages.every(({ resume }) => resume));
});

test('a full spool refuses with ENOSPC and takes more when something was answered', (t) => {
  const spool = open(t, temporaryFolder(t), { limitBytes: 1000 });
  accept(spool, 1, 'x'.repeat(800));
  assert.throws(
    () => accept(spool, 1, 'y'.repeat(200)),
    (error) => error instanceof FsError && error.code === 'ENOSPC',
  );
  accept(spool, 1, 'small');
  spool.done(spool.next(1) as Message);
  accept(spool, 1, 'y'.repeat(200));
  assert.deepEqual(texts(takeAll(spool, 1)), ['small', 'y'.repeat(200)]);
});

test('a spool belongs to one process', (t) => {
  const folder = temporaryFolder(t);
  open(t, folder);
  assert.throws(() => Spool.open({ folder, limitBytes: 1, log: silentLogger(), onAccepted: () => undefined }), { code: 'TFS_CONFLICT' });
});

test('what is given up is kept with the reason, the oldest ones until a tenth of the limit', async (t) => {
  const folder = temporaryFolder(t);
  const spool = open(t, folder, { limitBytes: 10_000 });
  for (let i = 0; i < 4; i += 1) {
    accept(spool, 1, String(i).repeat(300));
    spool.dead(spool.next(1) as Message, '/demo/x', `reason ${i}`);
  }
  spool.close();
  const rows = readAll(folder, 'select reason, path, payload from dead_letters order by id');
  assert.deepEqual(
    rows.map(({ reason }) => reason),
    ['reason 2', 'reason 3'],
  );
  assert.equal(rows[0]?.path, '/demo/x');
  assert.deepEqual(readAll(folder, 'select * from messages'), []);
});

test('parts of a closed file become a message at the next start, those of an open file a dead letter', (t) => {
  const folder = temporaryFolder(t);
  const first = open(t, folder);
  first.part(1, 10, Buffer.from('clo'));
  first.commit(false);
  first.part(1, 10, Buffer.from('sed'));
  first.commit(false);
  first.closed(10, false);
  first.part(1, 11, Buffer.from('half a comm'));
  first.commit(false);
  first.part(1, 12, Buffer.from('dropped'));
  first.commit(false);
  first.drop(12);
  first.commit(false);
  first.close();
  const second = open(t, folder);
  assert.deepEqual(texts(takeAll(second, 1)), ['closed']);
  assert.deepEqual(
    readAll(folder, 'select payload from dead_letters').map(({ payload }) => String(Buffer.from(payload as Uint8Array))),
    ['half a comm'],
  );
});

test('a torn record at the end of the journal is ignored, everything before it is kept', async (t) => {
  const folder = temporaryFolder(t);
  const pid = await crash(folder, ['one', 'two', 'three']);
  assert.ok(pid > 0);
  const journal = join(folder, 'spool.journal');
  truncateSync(journal, statSync(journal).size - 3);
  assert.deepEqual(texts(takeAll(open(t, folder), 1)), ['one', 'two']);
});

test('garbage behind the last record is ignored', async (t) => {
  const folder = temporaryFolder(t);
  await crash(folder, ['one']);
  const file = openSync(join(folder, 'spool.journal'), 'a');
  writeSync(file, Buffer.from([9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]));
  closeSync(file);
  assert.deepEqual(texts(takeAll(open(t, folder), 1)), ['one']);
});

test('answers outlast kill -9, so that an answered message is not sent again', async (t) => {
  const folder = temporaryFolder(t);
  await crash(folder, ['one', 'two', 'three', 'four'], 3);
  assert.deepEqual(texts(takeAll(open(t, folder), 1)), ['four']);
});

test('every accepted message outlasts kill -9 at a random moment, exactly once and in order', async (t) => {
  const folder = temporaryFolder(t);
  for (let round = 0; round < 6; round += 1) {
    const child = fork(new URL('./support/spool-writer.ts', import.meta.url), [folder, 'flood']);
    const notes = join(folder, 'confirmed');
    await until(() => (statSync(notes, { throwIfNoEntry: false })?.size ?? 0) > 5_000 * (round + 1), { what: 'the writer writes' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const last = Number(readFileSync(notes, 'utf8').split('\n').at(-2));
    const spool = Spool.open({ folder, limitBytes: 1e9, log: silentLogger(), onAccepted: () => undefined });
    const numbers = takeAll(spool, 1).map(({ payload }) => Number(payload));
    spool.close();
    assert.deepEqual(
      numbers,
      Array.from(numbers, (_, i) => i),
      'in order, none twice, none missing',
    );
    assert.ok(numbers.length > last, `${numbers.length} messages, ${last} was confirmed`);
    rmSync(folder, { recursive: true });
  }
});

test('a journal that was settled is void: its messages are not brought back twice', (t) => {
  const folder = temporaryFolder(t);
  const spool = open(t, folder);
  accept(spool, 1, 'one');
  spool.settle();
  accept(spool, 1, 'two');
  spool.settle();
  spool.close();
  assert.deepEqual(texts(takeAll(open(t, folder), 1)), ['one', 'two']);
});

test('the last response of each trigger is kept', (t) => {
  const folder = temporaryFolder(t);
  const first = open(t, folder);
  first.saveResponse(4, { invocation: Buffer.alloc(16, 1), verdict: 'ok', exitCode: 0, answeredAt: 5, output: Buffer.from('out') });
  first.close();
  assert.deepEqual(open(t, folder).readResponses().get(4), {
    invocation: Buffer.alloc(16, 1),
    verdict: 'ok',
    exitCode: 0,
    answeredAt: 5,
    output: Buffer.from('out'),
  });
});

test('a damaged database is said, not thrown as an internal error', (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'spool.db'), Buffer.alloc(8192, 1));
  assert.throws(() => Spool.open({ folder, limitBytes: 1, log: silentLogger(), onAccepted: () => undefined }), {
    code: 'TFS_CONFIG',
    message: /spool.db/,
  });
});

/** Runs a process that accepts messages, answers the first `answered` of them, and kills itself. */
async function crash(folder: string, messages: readonly string[], answered = 0): Promise<number> {
  const child = fork(new URL('./support/spool-writer.ts', import.meta.url), [folder, 'crash', String(answered), ...messages]);
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  assert.equal(signal, 'SIGKILL');
  return child.pid ?? 0;
}

function readAll(folder: string, sql: string): Record<string, unknown>[] {
  const database = new DatabaseSync(join(folder, 'spool.db'), { readOnly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}
