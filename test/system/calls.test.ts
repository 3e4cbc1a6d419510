import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesNaming, runProgram } from '../support/server.ts';
import { residentBytes, System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const CLIENT = join(import.meta.dirname, '..', '..', 'client', 'bin.ts');
/** Ten thousand processes take their time. */
const LIMIT_MS = 400_000;
const LIMIT_BYTES = 300 * 1024 * 1024;

test('calls through a whole system', { timeout: LIMIT_MS }, async (t) => {
  const system = await System.start(t, { mount: false });
  const client = await system.client();
  const command = (text: string, timeoutMs = 20_000): ReturnType<typeof client.invoke> =>
    client.invoke({ service: 'demo', plugin: 'command/command', payload: text, timeoutMs });
  const clientArgs = ['-config', system.ready.config, '-service', 'demo', '-plugin', 'command/command', '-timeout', '60s'];

  await t.test('each line arrives within 100 ms of its being printed, stdout and stderr told apart', async () => {
    const lags: number[] = [];
    const streams: string[] = [];
    const invocation = command('for i in 1 2 3 4 5; do date +%s%3N; sleep 0.3; done; date +%s%3N >&2');
    for await (const chunk of invocation) {
      lags.push(Date.now() - Number(chunk.data.toString()));
      streams.push(chunk.stream);
    }
    assert.deepEqual(streams, ['stdout', 'stdout', 'stdout', 'stdout', 'stdout', 'stderr']);
    lags.sort((a, b) => a - b);
    // One straggler is forgiven: the machine runs other tests at the same time.
    assert.ok((lags[4] as number) <= 100, `lags in ms: ${lags.join(', ')}`);
  });

  await t.test('exit codes 0 to 255 and signals are right', async () => {
    const outcomes = await Promise.all(Array.from({ length: 256 }, (_, code) => command(`exit ${code}`).outcome));
    assert.deepEqual(
      outcomes.map((outcome) => outcome.exitCode),
      Array.from({ length: 256 }, (_, code) => code),
    );
    for (const [name, number] of [
      ['TERM', 15],
      ['KILL', 9],
      ['SEGV', 11],
    ] as const) {
      const invocation = command(`kill -${name} $$`);
      assert.equal((await invocation.outcome).exitCode, 128 + number);
      assert.equal(invocation.verdicts[0]?.signal, number);
    }
  });

  await t.test('what prints and exits at once loses no byte', { timeout: LIMIT_MS }, async () => {
    const calls = 10_000;
    let next = 0;
    let wrong = 0;
    const lane = async (): Promise<void> => {
      for (let i = next++; i < calls; i = next++) {
        let output = '';
        const invocation = command(`printf 'out-${i}'; printf 'err-${i}' >&2`, 60_000);
        for await (const chunk of invocation) output += `${chunk.stream}:${chunk.data.toString()} `;
        if (!output.includes(`stdout:out-${i} `) || !output.includes(`stderr:err-${i} `)) wrong += 1;
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
    assert.equal(wrong, 0);
  });

  await t.test('1 GB to a slow reader leaves every process under 300 MB, and not a byte is missing', async () => {
    const bytes = 1024 * 1024 * 1024;
    const child = spawn(process.execPath, [CLIENT, ...clientArgs, '-timeout', '200s', '-raw', '-command', `head -c ${bytes} /dev/zero`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pids = (): number[] => [child.pid as number, ...processesNaming(system.ready.config)];
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, ...pids().map(residentBytes));
    }, 100);
    let received = 0;
    const begun = performance.now();
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      received += chunk.length;
      // Slower than the machine: about 100 MB/s at first, then as fast as it goes.
      const aheadMs = (received / (100 * 1024 * 1024)) * 1000 - (performance.now() - begun);
      if (received < 200 * 1024 * 1024 && aheadMs > 0) await sleep(aheadMs);
    }
    clearInterval(watch);
    assert.equal(received, bytes);
    assert.ok(most < LIMIT_BYTES, `a process had ${Math.round(most / 1024 / 1024)} MiB`);
  });

  await t.test('Ctrl-C and timeout leave no orphan, not even of grandchildren', async () => {
    const mark = `31.${randomBytes(4).readUInt32LE()}`;
    const child = spawn(
      process.execPath,
      [CLIENT, ...clientArgs, '-command', `sleep ${mark} & (trap '' TERM; sleep ${mark}) & sleep ${mark}`],
      { stdio: 'ignore' },
    );
    await until(() => processesNaming(`sleep\0${mark}`).length === 3, { what: 'three sleeping processes' });
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    assert.equal(code, 130);
    await until(() => processesNaming(`sleep\0${mark}`).length === 0, { timeoutMs: 10_000, what: 'no process is left after Ctrl-C' });
    const timed = await runProgram('client/bin.ts', [...clientArgs, '-timeout', '1s', '-command', `sleep ${mark} & sleep ${mark}`]);
    assert.equal(timed.code, 124);
    await until(() => processesNaming(`sleep\0${mark}`).length === 0, { timeoutMs: 10_000, what: 'no process is left after the timeout' });
  });
});
