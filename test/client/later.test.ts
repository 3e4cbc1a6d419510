import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import test, { before, type TestContext } from 'node:test';
import { callApi } from '../../runtime/api.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const REQUEST = ['-service', 'demo', '-plugin', 'command/command'];
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

let system: System;
before(async (t) => {
  system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

interface Running {
  readonly child: ChildProcess;
  readonly printed: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

/** Starts the program; it ends with the test. */
function start(t: Pick<TestContext, 'after'>, args: readonly string[], input = ''): Running {
  const program = join(packageRoot(), 'client', 'bin.ts');
  const child = spawn(process.execPath, [program, '-config', system.ready.config, ...args], { cwd: system.folder });
  t.after(() => child.kill('SIGKILL'));
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text;
    });
  }
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return { child, printed, ended: new Promise((resolve) => child.once('close', resolve)) };
}

async function run(
  t: Pick<TestContext, 'after'>,
  args: readonly string[],
  input = '',
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { printed, ended } = start(t, args, input);
  return { code: await ended, ...printed };
}

/** Has a command accepted for later and returns its id. */
async function later(t: Pick<TestContext, 'after'>, command: string, more: readonly string[] = []): Promise<string> {
  const { code, stdout, stderr } = await run(t, [...REQUEST, '-async', '-command', command, ...more]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout.trim(), ID);
  return stdout.trim();
}

/** The screen without what differs from run to run. */
function normal(screen: string): string {
  return screen.replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /m, '<time> ').replace(/^Time ran: .+$/m, 'Time ran: <duration>');
}

test('-async prints the id when it is committed; -attach shows everything, with the plugin’s exit code', async (t) => {
  const id = await later(t, 'echo one; echo two >&2; exit 3');
  const { code, stdout, stderr } = await run(t, ['-attach', id]);
  assert.equal(code, 3, stderr);
  assert.equal(
    normal(stdout),
    '<time> Sending message to service demo (roundrobin)\n[command/command@demo01] one\nExit code: 3\nTotal messages: 2\nTime ran: <duration>\n',
  );
  assert.match(stderr, /\[command\/command@demo01\] two\n/);
  const { source } = await callApi<{ source: string }>(system.ready.api, {
    method: 'GET',
    path: `/v1/history/${id}`,
    token: system.login.apiToken,
  });
  assert.equal(source, 'client');
  // What has ended is shown again, as often as it is asked for.
  assert.deepEqual((await run(t, ['-attach', id, '-raw'])).stdout, 'one\n');
});

test('-attach shows what came before it was called, then goes on live; Ctrl-C leaves the invocation alone', async (t) => {
  const id = await later(t, 'echo begun; sleep 3; echo ended');
  const first = start(t, ['-attach', id]);
  await until(() => first.printed.stdout.includes('] begun\n'), { timeoutMs: 20_000, what: 'the first line' });
  assert.doesNotMatch(first.printed.stdout, /ended/);
  first.child.kill('SIGINT');
  assert.equal(await first.ended, 130);
  assert.match(first.printed.stderr, new RegExp(`^triggerfs-client: detached: .* -attach ${id}\n`, 'm'));
  const { code, stdout } = await run(t, ['-attach', id]);
  assert.equal(code, 0);
  assert.match(stdout, /\] begun\n(.*\n)*\[command\/command@demo01\] ended\nExit code: 0\nTotal messages: 2\n/);
});

test('bytes come through as they were written', async (t) => {
  const { code, stdout } = await run(
    t,
    [...REQUEST, '-async'],
    "printf '\\033[31m\\000\\377\\376end'; head -c 300000 /dev/zero | tr '\\0' x",
  );
  assert.equal(code, 0);
  const attached = spawn(process.execPath, [
    ...[join(packageRoot(), 'client', 'bin.ts'), '-config', system.ready.config],
    ...['-attach', stdout.trim(), '-raw'],
  ]);
  const chunks: Buffer[] = [];
  attached.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  assert.equal(await new Promise((resolve) => attached.once('close', resolve)), 0);
  const expected = Buffer.concat([
    Buffer.from([0x1b]),
    Buffer.from('[31m'),
    Buffer.from([0, 255, 254]),
    Buffer.from('end'),
    Buffer.alloc(300_000, 'x'),
  ]);
  assert.ok(Buffer.concat(chunks).equals(expected));
});

test('a delayed invocation waits, is cancelled, and says so', async (t) => {
  const id = await later(t, 'echo never', ['-delay', '1h', '-priority', '5']);
  const watching = start(t, ['-attach', id]);
  await until(() => watching.printed.stderr.includes('waits for its turn'), { what: 'the notice' });
  const cancelled = await run(t, ['-cancel', id]);
  assert.deepEqual([cancelled.code, cancelled.stdout], [0, `${id} is cancelled\n`]);
  assert.equal(await watching.ended, 130);
  const ended = await later(t, 'true');
  assert.equal((await run(t, ['-attach', ended])).code, 0);
  const late = await run(t, ['-cancel', ended]);
  assert.equal(late.code, 73);
  assert.match(late.stderr, /has ended already: it is done/);
});

test('a running invocation is cancelled', async (t) => {
  const id = await later(t, 'echo begun; sleep 60');
  const watching = start(t, ['-attach', id]);
  await until(() => watching.printed.stdout.includes('] begun\n'), { timeoutMs: 20_000, what: 'the first line' });
  assert.equal((await run(t, ['-cancel', id])).code, 0);
  assert.equal(await watching.ended, 130);
  assert.match(watching.printed.stdout, /Exit code: 130\n/);
});

test('retries are shown one after the other; the last one counts', async (t) => {
  const file = join(system.folder, 'attempts');
  const id = await later(t, `echo x >> ${file}; echo attempt $(wc -l < ${file}); test $(wc -l < ${file}) -ge 3`, [
    '-retries',
    '5',
    '-backoff',
    '200ms',
  ]);
  const { code, stdout, stderr } = await run(t, ['-attach', id]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    stdout.split('\n').filter((line) => line.includes('attempt')),
    [1, 2, 3].map((number) => `[command/command@demo01] attempt ${number}`),
  );
  assert.equal(stderr.match(/the attempt ended failed after .*; it is tried again/g)?.length, 2);
});

test('an idempotency key is accepted once; -json tells so', async (t) => {
  const args = [...REQUEST, '-async', '-json', '-command', 'echo once', '-idempotency-key', 'order-17'];
  const [first, second] = [await run(t, args), await run(t, args)].map(
    ({ stdout }) => JSON.parse(stdout) as { event: string; id: string; existing: boolean },
  );
  assert.deepEqual([first?.event, first?.existing, second?.existing], ['accepted', false, true]);
  assert.equal(first?.id, second?.id);
  const other = await run(t, [...REQUEST, '-async', '-command', 'echo other', '-idempotency-key', 'order-17']);
  assert.notEqual(other.code, 0);
  const events = (await run(t, ['-attach', first?.id ?? '', '-json'])).stdout.trim().split('\n');
  const kinds = events.map((line) => (JSON.parse(line) as { event: string }).event).filter((kind) => kind !== 'notice');
  assert.deepEqual(kinds, ['manifest', 'output', 'verdict', 'done']);
});

test('without history the end of the output comes with the result', async (t) => {
  await system.api('POST', '/v1/configuration/commit', {
    commands: ['set services name quiet', 'set services quiet history off', 'set services quiet workers add demo01'],
  });
  const { stdout } = await run(t, ['-service', 'quiet', '-plugin', 'command/command', '-async', '-command', 'echo said; exit 4']);
  const attached = await run(t, ['-attach', stdout.trim()]);
  assert.equal(attached.code, 4, attached.stderr);
  assert.match(attached.stdout, /\[command\/command@demo01\] said\n/);
});

test('what does not exist, or does not fit together, is refused', async (t) => {
  const nothing = await run(t, ['-attach', '01a1ff6d-44b6-7000-8000-09aedff7b98a']);
  assert.equal(nothing.code, 66);
  assert.match(nothing.stderr, /TFS_NOT_FOUND/);
  for (const [args, reason] of [
    [[...REQUEST, '-delay', '1h'], /-delay needs -async/],
    [['-attach', 'x', '-async'], /-async and -attach exclude each other/],
    [['-attach', 'x', '-command', 'y'], /-command and -attach exclude each other/],
    [[...REQUEST, '-async', '-command', 'x', '-retries', 'many'], /-retries takes a whole number/],
    [[...REQUEST, '-async', '-command', 'x', '-on-failure', 'log'], /-on-failure takes the path of a trigger file/],
  ] as const) {
    const { code, stderr } = await run(t, args);
    assert.equal(code, 64, stderr);
    assert.match(stderr, reason);
  }
});
