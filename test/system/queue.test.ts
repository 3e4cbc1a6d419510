import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { QueueAccepted, QueueView } from '../../protocol/http/queue.ts';
import { EMBEDDED, System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const PATIENCE_MS = 60_000;

suite('durable invocations', () => {
  let system: System;
  const steps: (() => unknown)[] = [];

  before(async () => {
    system = await System.start({ after: (step) => void steps.push(step as () => unknown) }, { mount: false, databaseUrl: EMBEDDED });
  });

  after(async () => {
    for (const step of steps) await step();
  });

  test('an invocation outlives its broker, and runs once', async () => {
    const file = join(system.folder, 'broker');
    const { id } = await accept(system, { command: `echo one >> ${file}; sleep 3`, timeout: '30s' });
    await until(async () => (await find(system, id)).attempts[0]?.worker === 'demo01', { what: 'it runs' });
    await system.killPart('edge-broker');
    const item = await ended(system, id);
    assert.equal(item.state, 'done');
    assert.ok((item.attempts[0]?.sends ?? 0) > 1, 'it was sent again');
    assert.equal(readFileSync(file, 'utf8'), 'one\n');
  });

  test('an invocation outlives PostgreSQL, and runs once', async () => {
    const file = join(system.folder, 'database');
    const { id } = await accept(system, { command: `echo one >> ${file}; sleep 2`, timeout: '30s' });
    await until(() => existsSync(file), { what: 'it runs' });
    const pid = Number.parseInt(readFileSync(join(system.folder, 'data', 'postgres', 'data', 'postmaster.pid'), 'utf8'), 10);
    process.kill(pid, 'SIGKILL');
    assert.equal((await ended(system, id)).state, 'done');
    assert.equal(readFileSync(file, 'utf8'), 'one\n');
  });

  test('an invocation outlives the control-plane that has it, and runs once', async () => {
    const file = join(system.folder, 'control-plane');
    const command = `echo began >> ${file}; sleep 3; echo ended >> ${file}; echo the output`;
    const { id } = await accept(system, { command, timeout: '30s' });
    await until(async () => (await find(system, id)).attempts[0]?.worker === 'demo01', { what: 'its worker is noted' });
    await system.killPart('control-plane');
    const item = await ended(system, id);
    assert.equal(item.state, 'done');
    assert.equal(item.result?.output, 'the output\n');
    assert.equal(readFileSync(file, 'utf8'), 'began\nended\n');
    assert.deepEqual(
      item.attempts.map(({ invocation, resumed, verdict }) => [invocation, resumed, verdict]),
      [
        [id, false, null],
        [id, true, 'ok'],
      ],
    );
  });
});

function accept(system: System, body: Record<string, unknown>): Promise<QueueAccepted> {
  return system.api<QueueAccepted>('POST', '/v1/invocations', { service: 'demo', plugin: 'command/command', ...body });
}

function find(system: System, id: string): Promise<QueueView> {
  return system.api<QueueView>('GET', `/v1/invocations/${id}`);
}

function ended(system: System, id: string): Promise<QueueView> {
  return until(
    async () => {
      // Whoever answers may just have been killed.
      const item = await find(system, id).catch(() => null);
      return item !== null && item.endedAt !== null ? item : null;
    },
    { timeoutMs: PATIENCE_MS, what: `invocation ${id} ends` },
  );
}
