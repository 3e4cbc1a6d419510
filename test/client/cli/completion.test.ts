import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { commands, TOPICS } from '../../../client/cli/commands/index.ts';
import { complete, possibilities } from '../../../client/cli/completion.ts';
import { CommandTree } from '../../../client/cli/grammar/command-tree.ts';
import { Names } from '../../../client/cli/names.ts';
import { until } from '../../support/wait.ts';

const LIMIT_MS = 150;
const CONFIGURE = new CommandTree(
  commands().filter(({ modes }) => modes.includes('configure')),
  TOPICS,
);

/** Names from a control-plane that answers after a while. */
function namesAfter(delayMs: number, lists: Readonly<Record<string, readonly unknown[]>>): Names {
  return new Names(() => ({
    list: async <T>(path: string): Promise<T[]> => {
      await sleep(delayMs);
      return (lists[path] ?? []) as T[];
    },
  }));
}

test('words, names and choices are completed', async () => {
  const names = namesAfter(0, {
    '/v1/workers': [
      { identity: 'demo01', plugins: ['command/command', 'file/append'] },
      { identity: 'delta', plugins: ['file/append'] },
    ],
    '/v1/services': [{ name: 'demo' }],
    '/v1/triggers': [{ path: '/demo/with blank' }],
    '/v1/schedules': [{ name: 'nightly' }],
    '/v1/history?limit=100': [{ id: '01a2000f-25ce-7000-8000-0e6efe27b27d' }],
    '/v1/queue?limit=100': [{ id: '01a2000f-331d-7000-8000-0a56ea21f1d0' }],
  });
  const completed = async (line: string): Promise<readonly string[]> => (await complete(line, CONFIGURE, names))[0];
  assert.deepEqual(await completed('sh'), ['show']);
  assert.deepEqual(await completed('sh wo'), ['workers']);
  assert.deepEqual(await completed('show workers de'), ['delta', 'demo01']);
  assert.deepEqual(await completed('set services demo algorithm '), ['roundrobin', 'serial', 'mirror']);
  assert.deepEqual(await completed('set services demo workers add d'), ['delta', 'demo01']);
  assert.deepEqual(await completed('request service demo plugin f'), ['file/append']);
  assert.deepEqual(await completed('show triggers '), ['"/demo/with blank"']);
  assert.deepEqual(await completed('monitor 01a'), ['01a2000f-25ce-7000-8000-0e6efe27b27d']);
  assert.deepEqual(await completed('request queue cancel '), ['01a2000f-331d-7000-8000-0a56ea21f1d0']);
  assert.deepEqual(await completed('request schedule nightly p'), ['pause']);
  assert.deepEqual(await completed('show schedules n'), ['nightly']);
  assert.deepEqual(await completed('set schedules nightly timezone Europe/Ber'), ['Europe/Berlin']);
  assert.deepEqual(await completed('set schedules nightly overlap '), ['skip', 'queue', 'allow']);
  assert.deepEqual(await completed('set services demo http answer '), ['json', 'raw']);
  assert.deepEqual(await completed('show history verdict worker'), ['worker-lost']);
  assert.deepEqual(await completed('show queue d'), ['done', 'dead']);
  assert.deepEqual(await completed('show workers | c'), ['count', 'compare']);
  assert.deepEqual(await completed('help se'), ['set']);
  assert.deepEqual(await completed('set workers demo01 description "te'), []);
  assert.deepEqual(await completed('nonsense '), []);
});

test('a slow control-plane makes completion wait a moment only, and known names are there at once', async () => {
  const thousand = Array.from({ length: 1000 }, (_, index) => ({ identity: `node${index}`, plugins: [] }));
  const names = namesAfter(400, { '/v1/workers': thousand });
  const timed = async (): Promise<{ count: number; ms: number }> => {
    const begun = performance.now();
    const [candidates] = await complete('show workers node', CONFIGURE, names);
    return { count: candidates.length, ms: performance.now() - begun };
  };
  const cold = await timed();
  assert.deepEqual([cold.count, cold.ms < LIMIT_MS], [0, true]);
  await until(async () => (await names.of('worker')).length === 1000, { what: 'the names have come' });
  const warm = await timed();
  assert.deepEqual([warm.count, warm.ms < LIMIT_MS], [1000, true]);
});

test('every command has help and can be reached word by word', () => {
  for (const command of commands()) {
    assert.notEqual(command.doc, '', command.pattern);
    assert.doesNotMatch(command.doc, /\.$/, command.pattern);
  }
  assert.deepEqual(
    possibilities('commit ', CONFIGURE),
    [
      'Possible completions:',
      '  <Enter>    Do it',
      '  check      Try the collected changes',
      '  confirmed  Make the collected changes, and undo them unless commit follows in time',
      '  comment    Why, for the log',
    ].map((line) => line.trimEnd()),
  );
});
