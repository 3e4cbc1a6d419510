import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cannotMount } from '../../bench/benches/mount.ts';
import { audit, isClean } from '../../bench/nemesis/ledger.ts';
import { runNemesis } from '../../bench/nemesis/nemesis.ts';

/** Twelve kills, each of a system at work: a minute or so, and more on a machine that has other things to do. */
const LIMIT_MS = 240_000;

test('what is accepted is executed, whatever is killed, and never more often than its attempts say', { timeout: LIMIT_MS }, async () => {
  const ground = { planes: 2, brokers: 2, workers: 2, mount: cannotMount() === null, victims: null };
  const settings = { items: 600, kills: 12, pauseMs: 600, answerMs: 5, drainMs: 90_000, seed: 32 };
  const report = await runNemesis({ ...ground, ...settings }, () => undefined);
  assert.ok(isClean(report), JSON.stringify(report));
  assert.equal(report.accepted, ground.mount ? 602 : 601);
  assert.ok(report.executed >= report.accepted, `${report.executed} executed`);
  assert.equal(
    Object.values(report.kills).reduce((sum, count) => sum + count, 0),
    12,
  );
  if (ground.mount) assert.ok(report.written > 1, 'trigger files were among the doors');
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
