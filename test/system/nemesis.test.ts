import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cannotMount } from '../../bench/benches/mount.ts';
import { audit, isClean } from '../../bench/nemesis/ledger.ts';
import { runNemesis } from '../../bench/nemesis/nemesis.ts';

test('what is accepted is executed, whatever is killed', async () => {
  const settings = {
    items: 1000,
    kills: 20,
    pauseMs: 600,
    planes: 2,
    brokers: 2,
    workers: 2,
    mount: cannotMount() === null,
    victims: null,
    answerMs: 30,
    drainMs: 90_000,
  };
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
    { key: 'good', state: 'done', sends: 1 },
    { key: 'again', state: 'done', sends: 2 },
    { key: 'lost', state: 'done', sends: 1 },
    { key: 'dead', state: 'dead', sends: 2 },
    { key: 'twice', state: 'done', sends: 1 },
  ];
  const queued = new Set(['good', 'again', 'lost', 'dead', 'twice', 'gone']);
  const written = new Set(['line', 'unread']);
  const uncertain = new Set(['line', 'unread', 'torn']);
  const executed = ['good', 'again', 'again', 'dead', 'twice', 'twice', 'twice', 'stranger', 'line', 'line', 'torn'];
  const found = audit({ queued, written, uncertain, executed, rows, kills: 1 });
  assert.equal(found.accepted, 8);
  assert.equal(found.written, 2);
  assert.deepEqual(found.lost, ['lost', 'gone', 'unread']);
  assert.deepEqual(found.foreign, ['stranger']);
  assert.deepEqual(found.unfinished, ['dead', 'gone']);
  assert.deepEqual(found.hidden, ['twice', 'stranger']);
  assert.deepEqual(found.excessive, ['twice']);
  assert.equal(found.duplicates, 4);
  assert.equal(isClean(found), false);
  const none = new Set<string>();
  assert.equal(isClean(audit({ queued: new Set(['good']), written: none, uncertain: none, executed: ['good'], rows, kills: 0 })), true);
});
