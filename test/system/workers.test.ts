import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', 'worker-agent', 'bin.ts');

/** Creates a worker through the API and starts it as a process with a configuration of its own. */
async function startWorker(t: TestContext, system: System, identity: string): Promise<ChildProcess> {
  const { token } = await system.api<{ token: string }>('POST', '/v1/workers', { identity });
  const config = join(system.folder, `${identity}.toml`);
  writeFileSync(
    config,
    `[main]\napi = "${system.ready.api}"\n[workers]\nconcurrency = 200\ngrace = "2s"\n[workers.demo.${identity}]\ntoken = "${token}"\n`,
    { mode: 0o600 },
  );
  const child = spawn(process.execPath, [PROGRAM, '-config', config, '-identity', identity], { stdio: 'ignore' });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return child;
}

async function online(system: System, identities: readonly string[]): Promise<void> {
  await until(
    async () => {
      const { items } = await system.api<{ items: { identity: string; state: string }[] }>('GET', '/v1/workers');
      return identities.every((identity) => items.some((worker) => worker.identity === identity && worker.state === 'ONLINE'));
    },
    { timeoutMs: 20_000, what: `${identities.join(', ')} online` },
  );
}

test('three workers behind one service', async (t) => {
  const system = await System.start(t, { mount: false });
  const identities = ['rack1', 'rack2', 'rack3'];
  const children: ChildProcess[] = [];
  for (const identity of identities) children.push(await startWorker(t, system, identity));
  for (const [name, algorithm] of [
    ['spread', 'roundrobin'],
    ['rolling', 'serial'],
    ['everywhere', 'mirror'],
  ] as const) {
    await system.api('POST', '/v1/services', { name, algorithm });
    for (const identity of identities) await system.api('POST', `/v1/services/${name}/workers`, { worker: identity });
  }
  await online(system, identities);
  const client = await system.client();
  const ask = async (
    service: string,
    payload: string,
  ): Promise<{ verdict: string; output: string; workers: string[]; exitCode: number; spans: string[] }> => {
    const invocation = client.invoke({ service, plugin: 'command/command', payload, timeoutMs: 20_000 });
    let output = '';
    for await (const chunk of invocation) output += chunk.data.toString();
    const outcome = await invocation.outcome;
    return {
      ...outcome,
      output,
      workers: invocation.verdicts.map((run) => run.worker),
      spans: invocation.verdicts.map((run) => run.verdict),
    };
  };

  await t.test('roundrobin spreads evenly', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask('spread', 'echo $TRIGGERFS_WORKER')));
    for (const identity of identities) assert.equal(answers.filter((answer) => answer.output.trim() === identity).length, 10);
  });

  await t.test('serial runs in order, one at a time, and stops after an error', async () => {
    const { output, workers } = await ask('rolling', 'echo "$TRIGGERFS_WORKER begins"; sleep 0.2; echo "$TRIGGERFS_WORKER ends"');
    assert.deepEqual(workers, identities);
    assert.deepEqual(
      output.trim().split('\n'),
      identities.flatMap((identity) => [`${identity} begins`, `${identity} ends`]),
    );
    const stopped = await ask('rolling', 'test $TRIGGERFS_WORKER != rack2');
    assert.deepEqual(stopped.spans, ['ok', 'failed', 'cancelled']);
    assert.equal(stopped.exitCode, 1);
  });

  await t.test('mirror gives three verdicts, the manifest first', async () => {
    const invocation = client.invoke({ service: 'everywhere', plugin: 'command/command', payload: 'echo $TRIGGERFS_WORKER' });
    const kinds: string[] = [];
    for await (const event of invocation.events()) kinds.push(event.kind);
    assert.equal(kinds[0], 'manifest');
    assert.equal(kinds.filter((kind) => kind === 'verdict').length, 3);
    assert.deepEqual([...((await invocation.manifest)?.workers ?? [])].sort(), identities);
  });

  await t.test('SIGKILL of one worker during 1,000 requests: each ends in a verdict, in time', async () => {
    const started = performance.now();
    const answers = Array.from({ length: 1_000 }, () =>
      client.invoke({ service: 'spread', plugin: 'command/command', payload: 'sleep 0.05; echo done', timeoutMs: 25_000 }),
    );
    const outcomes = answers.map((invocation) => invocation.outcome);
    await Promise.all(outcomes.slice(0, 100));
    children[1]?.kill('SIGKILL');
    const verdicts = await Promise.all(outcomes);
    assert.ok(performance.now() - started < 25_000);
    const count = new Map<string, number>();
    for (const { verdict } of verdicts) count.set(verdict, (count.get(verdict) ?? 0) + 1);
    assert.ok((count.get('ok') ?? 0) >= 700, JSON.stringify([...count]));
    assert.deepEqual(
      [...count.keys()].filter((verdict) => verdict !== 'ok' && verdict !== 'worker-lost'),
      [],
    );
    const moved = answers.filter((invocation) => (invocation.verdicts[0]?.attempt ?? 0) > 0);
    assert.ok(moved.every((invocation) => invocation.verdicts[0]?.verdict === 'ok'));
  });
});
