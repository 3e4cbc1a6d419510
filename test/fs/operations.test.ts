import assert from 'node:assert/strict';
import { constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { handlersOf } from '../../fs/handlers.ts';
import { createOperations, ExtendedAttributes, Files, Metadata, type Operations } from '../../fs/operations/index.ts';
import { Responses } from '../../fs/responses.ts';
import { Spool } from '../../fs/spool/spool.ts';
import { FileTree } from '../../fs/tree.ts';
import { type ApiCaller, TreeEditor } from '../../fs/tree-editor.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { TreeTrigger } from '../../protocol/http/tree.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { lastFirst } from '../support/last-first.ts';
import { makeTrigger } from './support/fake-api.ts';

interface Bench {
  readonly operations: Operations;
  readonly spool: Spool;
  readonly tree: FileTree;
  readonly responses: Responses;
  readonly calls: unknown[][];
  connected: boolean;
  mayWrite: boolean;
  apiError: Error | null;
  /** Messages accepted so far. */
  messages(trigger?: number): string[];
}

function setUp(t: TestContext, rule: Partial<TreeTrigger> = {}): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-operations-'));
  const hooks = lastFirst(t);
  hooks.after(() => rmSync(folder, { recursive: true, force: true }));
  const spool = Spool.open({ folder, limitBytes: 1e8, log: silentLogger(), onAccepted: () => undefined });
  hooks.after(() => spool.close());
  const tree = new FileTree();
  const updatedAt = '2026-11-21T21:00:00.000Z';
  tree.replace({
    version: 1,
    directories: [
      { id: 1, path: '/demo', mode: 0o775, updatedAt },
      { id: 2, path: '/empty', mode: 0o700, updatedAt },
    ],
    triggers: [makeTrigger(5, '/demo/x', { updatedAt, ...rule })],
  });
  const responses = new Responses(spool);
  const calls: unknown[][] = [];
  const api: ApiCaller = {
    call: async <T>(...call: unknown[]): Promise<T> => {
      calls.push(call);
      if (bench.apiError !== null) throw bench.apiError;
      return { id: 77, mode: 0o750, updatedAt } as T;
    },
  };
  const operations = createOperations(
    new Metadata({ tree, editor: new TreeEditor(api, tree, () => undefined), owner: { uid: 1000, gid: 100 }, usage: () => spool.usage }),
    new Files({ tree, intake: spool, responses, mayWrite: () => bench.mayWrite, connected: () => bench.connected }),
    new ExtendedAttributes(tree, responses),
  );
  const messages = (trigger = 5): string[] => {
    const texts: string[] = [];
    for (let message = spool.next(trigger); message !== null; message = spool.next(trigger)) texts.push(String(message.payload));
    return texts;
  };
  const bench: Bench = { operations, spool, tree, responses, calls, connected: true, mayWrite: true, apiError: null, messages };
  return bench;
}

const code = (name: string) => (error: unknown) => (error as { code?: string }).code === name;

test('attributes: owner, size 0, mode and time of the tree, inode numbers that stay over a rename', (t) => {
  const { operations, tree } = setUp(t);
  const before = operations.getattr('/demo/x');
  assert.deepEqual(before, {
    mode: 0o100644,
    uid: 1000,
    gid: 100,
    size: 0,
    nlink: 1,
    ino: 12,
    atime: new Date('2026-11-21T21:00:00.000Z'),
    mtime: new Date('2026-11-21T21:00:00.000Z'),
    ctime: new Date('2026-11-21T21:00:00.000Z'),
  });
  tree.move('/demo/x', '/empty/y');
  assert.equal(operations.getattr('/empty/y').ino, before.ino);
  assert.throws(() => operations.getattr('/demo/x'), code('ENOENT'));
  assert.deepEqual(operations.readdir('/'), ['.', '..', 'demo', 'empty']);
  assert.throws(() => operations.readdir('/empty/y'), code('ENOTDIR'));
});

test('nothing but writing data makes a message', (t) => {
  const { operations, messages } = setUp(t);
  const handle = operations.open('/demo/x', constants.O_RDWR | constants.O_TRUNC);
  operations.truncate('/demo/x');
  operations.utimens('/demo/x');
  operations.flush(handle);
  operations.fsync(handle);
  assert.equal(operations.write(handle, Buffer.alloc(0)), 0);
  operations.release(handle);
  assert.deepEqual(messages(), []);
});

test('the written bytes are copied before the call returns', (t) => {
  const { operations, messages } = setUp(t);
  const handle = operations.open('/demo/x', constants.O_WRONLY);
  const buffer = Buffer.from('first');
  assert.equal(operations.write(handle, buffer), 5);
  buffer.fill('!');
  assert.deepEqual(messages(), ['first']);
  operations.release(handle);
  assert.throws(() => operations.write(handle, buffer), code('EBADF'));
});

test('a file open for reading cannot be written, and a viewer cannot open for writing', (t) => {
  const bench = setUp(t);
  const handle = bench.operations.open('/demo/x', constants.O_RDONLY);
  assert.throws(() => bench.operations.write(handle, Buffer.from('x')), code('EBADF'));
  bench.mayWrite = false;
  assert.throws(() => bench.operations.open('/demo/x', constants.O_WRONLY), code('EACCES'));
  assert.throws(() => bench.operations.open('/demo/x', constants.O_RDWR), code('EACCES'));
  bench.operations.open('/demo/x', constants.O_RDONLY);
});

test('reading gives the last response, the same one for the whole file', async (t) => {
  const { operations, responses } = setUp(t);
  const respond = (sequence: number, output: string): void =>
    responses.record(5, sequence, { invocation: Buffer.alloc(16), verdict: 'ok', exitCode: 0, answeredAt: 1, output: Buffer.from(output) });
  respond(1, 'one and only');
  const handle = operations.open('/demo/x', constants.O_RDONLY);
  const target = Buffer.alloc(7);
  assert.equal(await operations.read(handle, target, 0), 7);
  respond(2, 'another one!');
  assert.equal(await operations.read(handle, target, 7), 5);
  assert.equal(target.toString('utf8', 0, 5), ' only');
  assert.equal(await operations.read(handle, target, 12), 0);
  assert.equal(await operations.read(handle, target, 0), 7, 'reading from the start again is reading anew');
  assert.equal(String(target), 'another');
});

test('a first read waits for the answer to what was written before, but not without a broker', async (t) => {
  const bench = setUp(t);
  const { operations, responses, spool } = bench;
  const writer = operations.open('/demo/x', constants.O_WRONLY);
  operations.write(writer, Buffer.from('question'));
  const reader = operations.open('/demo/x', constants.O_RDONLY);
  const target = Buffer.alloc(100);
  bench.connected = false;
  assert.equal(operations.read(reader, target, 0), 0);
  bench.connected = true;
  const reading = operations.read(reader, target, 0);
  assert.ok(reading instanceof Promise);
  const output = Buffer.from('answer');
  responses.record(5, spool.newest(5), { invocation: Buffer.alloc(16), verdict: 'ok', exitCode: 0, answeredAt: 1, output });
  assert.equal(await reading, 6);
});

test('an answer that comes after that of a newer message does not replace it', (t) => {
  const { responses } = setUp(t);
  const response = { invocation: Buffer.alloc(16), verdict: 'ok', exitCode: 0, answeredAt: 1, output: Buffer.from('new') };
  responses.record(5, 9, response);
  responses.record(5, 8, { ...response, output: Buffer.from('old') });
  assert.equal(String(responses.latest(5)?.output), 'new');
});

test('extended attributes tell what became of the last message', (t) => {
  const { operations, responses } = setUp(t);
  assert.deepEqual(operations.listxattr('/demo/x'), []);
  assert.equal(operations.getxattr('/demo/x', 'security.capability'), undefined);
  const invocation = Buffer.from('0198f3c3e0007000800000000000000a', 'hex');
  responses.record(5, 1, { invocation, verdict: 'failed', exitCode: 3, answeredAt: 1, output: Buffer.alloc(0) });
  const names = operations.listxattr('/demo/x');
  assert.deepEqual(names, ['user.triggerfs.invocation', 'user.triggerfs.verdict', 'user.triggerfs.exit_code']);
  assert.deepEqual(
    names.map((name) => String(operations.getxattr('/demo/x', name))),
    ['0198f3c3-e000-7000-8000-00000000000a', 'failed', '3'],
  );
  assert.deepEqual(operations.listxattr('/demo'), []);
});

test('changes go to the control-plane by id, and show at once', async (t) => {
  const { operations, tree, calls } = setUp(t);
  await operations.mkdir('/demo/new', 0o40750);
  assert.deepEqual(calls.at(-1), ['POST', '/v1/directories', { path: '/demo/new', mode: 0o750 }]);
  assert.equal(tree.get('/demo/new')?.id, 77);
  await operations.rename('/demo/x', '/demo/new/y');
  assert.deepEqual(calls.at(-1), ['PATCH', '/v1/triggers/5', { path: '/demo/new/y' }]);
  assert.equal(tree.trigger(5)?.path, '/demo/new/y');
  await operations.rename('/demo', '/renamed');
  assert.deepEqual(calls.at(-1), ['PATCH', '/v1/directories/1', { path: '/renamed' }]);
  assert.equal(tree.trigger(5)?.path, '/renamed/new/y');
  assert.equal(tree.get('/demo/new'), undefined);
  await operations.chmod('/renamed/new/y', 0o100600);
  assert.deepEqual(calls.at(-1), ['PATCH', '/v1/triggers/5', { mode: 0o600 }]);
  assert.equal(tree.get('/renamed/new/y')?.mode, 0o600);
  await operations.rmdir('/empty');
  assert.deepEqual(calls.at(-1), ['DELETE', '/v1/directories/2']);
  assert.equal(tree.get('/empty'), undefined);
  const count = calls.length;
  await operations.chmod('/renamed/new/y', 0o600);
  await operations.rename('/renamed', '/renamed');
  assert.equal(calls.length, count, 'what changes nothing asks nobody');
});

test('what the control-plane refuses changes nothing and becomes an error number', async (t) => {
  const bench = setUp(t);
  bench.apiError = new TriggerFsError('TFS_FORBIDDEN', 'no');
  await assert.rejects(bench.operations.mkdir('/demo/new', 0o755), code('TFS_FORBIDDEN'));
  assert.equal(bench.tree.get('/demo/new'), undefined);
  const handlers = handlersOf(bench.operations, silentLogger());
  const answer = (name: string, ...args: unknown[]): Promise<number> =>
    new Promise((resolve) => (handlers[name] as (...args: unknown[]) => void)(...args, resolve));
  const { errno } = (await import('node:os')).constants;
  assert.equal(await answer('mkdir', '/demo/new', 0o755), -errno.EACCES);
  const cases = [
    ['TFS_CONFLICT', errno.EEXIST],
    ['TFS_NOT_FOUND', errno.ENOENT],
    ['TFS_LIMIT', errno.EDQUOT],
    ['TFS_UNAVAILABLE', errno.EHOSTUNREACH],
    ['TFS_TIMEOUT', errno.ETIMEDOUT],
    ['TFS_INTERNAL', errno.EIO],
  ] as const;
  for (const [apiCode, number] of cases) {
    bench.apiError = new TriggerFsError(apiCode, 'x');
    assert.equal(await answer('rmdir', '/empty'), -number, apiCode);
  }
  bench.apiError = new Error('unexpected');
  assert.equal(await answer('chmod', '/demo/x', 0o600), -errno.EIO);
});

test('every handler answers exactly once, whatever it is asked', async (t) => {
  const bench = setUp(t);
  bench.apiError = new TriggerFsError('TFS_UNAVAILABLE', 'down');
  const handlers = handlersOf(bench.operations, silentLogger());
  const buffer = Buffer.from('data');
  const hostile = ['/demo/x', '/', '', 'relative', '/nothing', '/demo', '/demo/\ufffd', '/__proto__', '/demo/constructor'];
  for (const [name, handler] of Object.entries(handlers)) {
    for (const path of hostile) {
      let answers = 0;
      const reply = (): void => {
        answers += 1;
      };
      const args: Record<string, unknown[]> = {
        read: [path, 99, buffer, 4, 0],
        write: [path, 99, buffer, 4, 0],
        flush: [path, 99],
        release: [path, 99],
        fsync: [path, 0, 99],
        open: [path, 1],
        create: [path, 0o644],
        mkdir: [path, 0o755],
        chmod: [path, 0o600],
        chown: [path, 5, 5],
        truncate: [path, 0],
        utimens: [path, 1, 1],
        rename: [path, '/demo/z'],
        link: [path, '/demo/z'],
        symlink: [path, '/demo/z'],
        mknod: [path, 0o644, 0],
        getxattr: [path, 'user.triggerfs.verdict'],
        setxattr: [path, 'user.x', buffer, 0, 0],
        removexattr: [path, 'user.x'],
      };
      (handler as (...args: unknown[]) => void)(...(args[name] ?? [path]), reply);
      for (let turn = 0; turn < 10 && answers === 0; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(answers, 1, `${name} ${path}`);
    }
  }
});
