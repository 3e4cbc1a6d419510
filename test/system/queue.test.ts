import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { QueueAccepted, QueueView } from '../../protocol/http/queue.ts';
import { runAll } from '../support/last-first.ts';
import { EMBEDDED, System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const PATIENCE_MS = 60_000;

suite('durable invocations', () => {
  let system: System;
  const steps: (() => unknown)[] = [];

  before(async () => {
    system = await System.start({ after: (step) => void steps.push(step as () => unknown) }, { mount: false, databaseUrl: EMBEDDED });
  });

  after(() => runAll(steps));

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

  test('a worker that hangs until it was given up, and goes on then, changes nothing', async () => {
    const file = join(system.folder, 'hung');
    const command = `echo "$$" >> ${file}; test "$(wc -l < ${file})" = 1 && sleep 1; tail -n 1 ${file}`;
    const { id } = await accept(system, { command, timeout: '30s', retries: 1, backoff: '100ms' });
    await until(() => existsSync(file), { what: 'it runs' });
    await until(async () => (await find(system, id)).attempts[0]?.worker === 'demo01', { what: 'its worker is noted' });
    const workers = system.parts('worker-agent');
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    try {
      const lost = async (): Promise<boolean> => (await find(system, id)).attempts[0]?.verdict === 'worker-lost';
      await until(lost, { timeoutMs: 20_000, what: 'the worker is given up' });
    } finally {
      for (const pid of workers) process.kill(pid, 'SIGCONT');
    }
    const item = await ended(system, id);
    assert.equal(item.state, 'done');
    assert.deepEqual(
      item.attempts.map(({ verdict, late }) => [verdict, late]).filter(([verdict]) => verdict !== 'no-worker'),
      [
        ['worker-lost', false],
        ['ok', false],
      ],
    );
    const executions = readFileSync(file, 'utf8').split('\n').filter(Boolean);
    assert.equal(executions.length, 2);
    assert.equal(item.result?.output.trim(), executions[1]);
    assert.ok(executions.length <= item.attempts.reduce((sum, { sends }) => sum + sends, 0));
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
