import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Periodic } from '../../control-plane/jobs/periodic.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';

test('turns come at once, after the pause, and also after one that threw', async () => {
  let turns = 0;
  const turn = async (): Promise<void> => {
    turns += 1;
    if (turns === 1) throw new Error('the database is away');
  };
  const periodic = new Periodic({ everyMs: 5, turn, failure: 'nothing was done', log: silentLogger() });
  periodic.start();
  await until(() => turns >= 3, { what: 'three turns' });
  await periodic.stop();
});

test('one turn at a time; a turn that is hurried for comes without the pause, and none after the stop', async () => {
  const gates: (() => void)[] = [];
  let running = 0;
  const turn = async (): Promise<void> => {
    running += 1;
    await new Promise<void>((resolve) => gates.push(resolve));
    running -= 1;
  };
  const periodic = new Periodic({ everyMs: 3_600_000, turn, failure: 'nothing was done', log: silentLogger() });
  periodic.start();
  periodic.start();
  periodic.hurry();
  assert.equal(gates.length, 1);
  gates[0]?.();
  await until(() => gates.length === 2, { what: 'the turn that was asked for during the first' });
  assert.equal(running, 1);
  gates[1]?.();
  await until(() => running === 0, { what: 'the pause' });
  periodic.hurry();
  await until(() => gates.length === 3, { what: 'the turn that was asked for in the pause' });
  const stopped = periodic.stop();
  periodic.hurry();
  gates[2]?.();
  await stopped;
  assert.equal(gates.length, 3);
});
