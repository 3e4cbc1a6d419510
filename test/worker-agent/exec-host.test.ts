import assert from 'node:assert/strict';
import { closeSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '../../runtime/logging.ts';
import type { BoundPlan, TaskBody } from '../../worker-agent/catalogue/bound-plan.ts';
import type { Plugin } from '../../worker-agent/catalogue/plugin.ts';
import { ExecHost } from '../../worker-agent/exec/exec-host.ts';
import { FifoPool } from '../../worker-agent/exec/fifo-pool.ts';
import type { Outcome } from '../../worker-agent/runs/outcome.ts';
import type { Run, RunControl } from '../../worker-agent/runs/run.ts';

test('a start that breaks frees what it had opened and ends its run once', (t) => {
  const pool = new FifoPool();
  t.after(() => pool.close());
  const sandbox = { account: null, cwd: '/', environment: {} };
  const host = new ExecHost({ pool, sandbox, worker: 'demo01', log: silentLogger() });
  t.after(() => host.stop());
  host.warm();
  const plugin = { name: 'echo', program: '/bin/true', arguments: [] as string[] } as unknown as Plugin;
  // JSON has no such number, so the description of the plan breaks.
  const plan = { args: { count: 1n }, plan: {} } as unknown as BoundPlan;
  const batch = Buffer.alloc(64, 'x');
  const task: TaskBody = { batch, invocation: 0, payload: 16, end: 64 };
  const start = (): string[] => {
    const calls: string[] = [];
    const control: RunControl | null = null;
    const run = {
      plan,
      attempt: 0,
      control,
      interruption: null,
      finish: ({ detail }: Outcome) => calls.push(detail),
      release: () => calls.push('released'),
    };
    host.forPlugin(plugin).start(run as unknown as Run, task, performance.now());
    return calls;
  };
  start();
  const before = descriptors();
  for (let i = 0; i < 3; i += 1) {
    const calls = start();
    assert.match(calls[0] as string, /plugin echo: cannot start .*BigInt/);
    assert.deepEqual(calls.slice(1), ['released']);
  }
  assert.equal(descriptors(), before);
});

test('pipes for what may run at once are made before it, others in steps that grow', (t) => {
  const pool = new FifoPool();
  t.after(() => pool.close());
  const opened: number[] = [];
  t.after(() => opened.forEach(closeSync));
  const open = (count: number): void => {
    for (; opened.length < 2 * count; ) {
      const { reader, writer } = pool.open();
      opened.push(reader, writer);
    }
  };
  pool.prepare(100);
  assert.equal(pipes(), 100);
  open(100);
  assert.equal(pipes(), 100);
  open(101);
  assert.equal(pipes(), 200);
  open(201);
  assert.equal(pipes(), 400);
});

/** Pipes of this process. */
function pipes(): number {
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith(`triggerfs-worker-${process.pid}-`));
  return folders.reduce((sum, folder) => sum + readdirSync(join(tmpdir(), folder)).length, 0);
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
