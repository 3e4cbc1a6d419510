import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Rig, startRig } from './harness.ts';

let rig: Rig;
before(async () => {
  rig = await startRig({ arguments: ['-debug', 'true'] });
});
after(() => rig.stop());

test('echo answers through the resident plugin', async () => {
  const { result, stdout } = await rig.broker.run({ plugin: 'echo', payload: 'hello' });
  assert.deepEqual([result.verdict, result.exitCode, stdout.toString()], ['ok', 0, 'hello']);
});

test('command/command runs the payload', async () => {
  const { result, stdout, stderr } = await rig.broker.run({ plugin: 'command/command', payload: 'echo out; echo err >&2; exit 3' });
  assert.deepEqual([result.verdict, result.exitCode, stdout.toString(), stderr.toString()], ['failed', 3, 'out\n', 'err\n']);
});
