import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { startRelay } from '../../bench/peers/relay.ts';
import { Stage } from '../../bench/stage/stage.ts';

const SETTINGS = { only: null, seconds: 1, rounds: 1, json: false, profile: null, help: false };

test('closing a stage ends its programs and removes its folder', async () => {
  const stage = await Stage.open(SETTINGS, () => undefined);
  const command = stage.find('sleep');
  assert.ok(command !== null);
  const program = stage.start({ name: 'sleeper', command, args: ['600'] });
  assert.ok(program.running);
  await stage.close();
  assert.ok(!program.running);
  assert.ok(!existsSync(stage.folder));
  assert.throws(() => process.kill(program.pid, 0), { code: 'ESRCH' });
});

test('a program that ends before it is ready is named with its last words', async () => {
  const stage = await Stage.open(SETTINGS, () => undefined);
  try {
    const program = stage.startNode('quitter', ['-e', 'console.error("no luck today"); process.exit(3)']);
    await assert.rejects(program.ready(), /quitter ended with code 3\n {2}no luck today/);
  } finally {
    await stage.close();
  }
});

test('a program that is not installed is not found', async () => {
  const stage = await Stage.open(SETTINGS, () => undefined);
  try {
    assert.equal(stage.find('no-such-program-anywhere'), null);
  } finally {
    await stage.close();
  }
});

test('the bare relay answers every request with what it was sent', async () => {
  const stage = await Stage.open(SETTINGS, () => undefined);
  try {
    const relay = await startRelay(stage);
    const { requests, failures, firstFailure } = await relay.load.load({ window: 100, ms: 100, payloadBytes: 128 });
    assert.equal(firstFailure, null);
    assert.equal(failures, 0);
    assert.ok(requests > 100);
  } finally {
    await stage.close();
  }
});
