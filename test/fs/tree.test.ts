import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountTable } from '../../fs/mount-table.ts';
import { prepareMountpoint } from '../../fs/mountpoint.ts';
import { FileTree } from '../../fs/tree.ts';
import { TreeSync } from '../../fs/tree-sync.ts';
import type { Tree } from '../../protocol/http/tree.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';
import { makeTrigger } from './support/fake-api.ts';

const directory = (id: number, path: string): Tree['directories'][number] => ({
  id,
  path,
  mode: 0o755,
  updatedAt: '2026-11-21T21:00:00.000Z',
});

test('what no file can be called, or has no place, is left out of the tree', () => {
  const tree = new FileTree();
  const left = tree.replace({
    version: 3,
    directories: [directory(2, '/a/b'), directory(1, '/a'), directory(3, '/no/parent'), directory(4, '/new\nline'), directory(5, '/a')],
    triggers: [makeTrigger(1, '/a/b/x'), makeTrigger(2, '/a/b'), makeTrigger(3, '/a/..'), makeTrigger(4, '/gone/x')],
  });
  assert.deepEqual(left.toSorted(), ['/a', '/a/..', '/a/b', '/gone/x', '/new\nline', '/no/parent']);
  assert.deepEqual(tree.list('/'), ['a']);
  assert.deepEqual(tree.list('/a/b'), ['x']);
  assert.equal(tree.version, 3);
  assert.equal(tree.trigger(1)?.path, '/a/b/x');
  assert.equal(tree.trigger(2), undefined);
});

test('an answer that is older than an edit made here does not undo it', async (t) => {
  const tree = new FileTree();
  const answers: ((tree: Tree) => void)[] = [];
  const api = { call: <T>() => new Promise<T>((resolve) => answers.push(resolve as (tree: Tree) => void)) };
  const store = { readState: () => null, writeState: () => undefined };
  const sync = new TreeSync({ api, tree, store, log: silentLogger(), onReplaced: () => undefined });
  t.after(() => sync.stop());
  const loading = sync.load();
  tree.replace({ version: 1, directories: [], triggers: [] });
  sync.edited();
  tree.add({ kind: 'directory', ...directory(1, '/mine') });
  answers[0]?.({ version: 1, directories: [], triggers: [] });
  await loading;
  assert.deepEqual(tree.list('/'), ['mine']);
  await until(() => answers.length === 2, { what: 'the tree is read again' });
  answers[1]?.({ version: 2, directories: [directory(1, '/mine'), directory(2, '/other')], triggers: [] });
  await until(() => tree.version === 2, { what: 'the newer answer' });
  assert.deepEqual(tree.list('/'), ['mine', 'other']);
});

test('a burst of changes is read once or twice, and the last state is shown', async (t) => {
  const tree = new FileTree();
  let version = 0;
  let reads = 0;
  const api = {
    call: async <T>(): Promise<T> => {
      reads += 1;
      return { version, directories: [], triggers: [] } as T;
    },
  };
  const store = { readState: () => null, writeState: () => undefined };
  const sync = new TreeSync({ api, tree, store, log: silentLogger(), onReplaced: () => undefined });
  t.after(() => sync.stop());
  for (version = 1; version < 100; version += 1) sync.changed();
  await until(() => tree.version === version, { what: 'the last version' });
  assert.ok(reads <= 2, String(reads));
});

test('the mount table is read with its escapes', () => {
  const text = [
    '23 27 0:22 / /sys rw,relatime - sysfs sysfs rw',
    '42 27 0:39 / /mnt/with\\040space\\134 rw,nosuid shared:5 master:1 - fuse triggerfs rw,user_id=0',
    'garbage',
    '',
  ].join('\n');
  assert.deepEqual(parseMountTable(text), [
    { mountpoint: '/sys', type: 'sysfs', source: 'sysfs' },
    { mountpoint: '/mnt/with space\\', type: 'fuse', source: 'triggerfs' },
  ]);
});

test('the root directory and endless paths are refused before anything is touched', async () => {
  await assert.rejects(prepareMountpoint('/', [], silentLogger()), { code: 'TFS_MOUNT' });
  await assert.rejects(prepareMountpoint(`/tmp/${'a/'.repeat(600)}`, [], silentLogger()), { code: 'TFS_MOUNT' });
});
