import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit, isClean } from '../../bench/nemesis/ledger.ts';
import { runNemesis } from '../../bench/nemesis/nemesis.ts';

test('what is accepted is executed, whatever is killed', async () => {
  const settings = { items: 1000, kills: 20, pauseMs: 600, planes: 2, brokers: 2, workers: 2, mount: false, drainMs: 90_000 };
  const report = await runNemesis({ ...settings, seed: 20_261_121 }, () => undefined);
  assert.ok(isClean(report), JSON.stringify(report));
  assert.equal(report.accepted, 1001);
  assert.equal(report.executed, 1001);
  assert.equal(
    Object.values(report.kills).reduce((sum, count) => sum + count, 0),
    20,
  );
});

test('the checker finds what is lost, foreign, unfinished, hidden and too much', () => {
  const rows = [
    { key: 'good', state: 'done', sends: 1, open: 0 },
    { key: 'again', state: 'done', sends: 1, open: 1 },
    { key: 'lost', state: 'done', sends: 1, open: 0 },
    { key: 'dead', state: 'dead', sends: 2, open: 0 },
    { key: 'twice', state: 'done', sends: 1, open: 0 },
  ];
  const accepted = new Set(['good', 'again', 'lost', 'dead', 'twice', 'gone']);
  const found = audit(accepted, ['good', 'again', 'again', 'dead', 'twice', 'twice', 'twice', 'stranger'], rows, 1);
  assert.deepEqual(found.lost, ['lost', 'gone']);
  assert.deepEqual(found.foreign, ['stranger']);
  assert.deepEqual(found.unfinished, ['dead', 'gone']);
  assert.deepEqual(found.hidden, ['twice', 'stranger']);
  assert.deepEqual(found.excessive, ['twice']);
  assert.equal(found.duplicates, 3);
  assert.equal(isClean(found), false);
  assert.equal(isClean(audit(new Set(['good']), ['good'], rows, 0)), true);
});
