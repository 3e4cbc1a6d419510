import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastFirst } from '../support/last-first.ts';
import { isMounted, processesNaming, runProgram, ServerProcess, serverFolder } from '../support/server.ts';
import { until } from '../support/wait.ts';

const CAN_MOUNT = existsSync('/dev/fuse') && process.getuid?.() === 0;

function args(folder: string, mountpoint = join(folder, 'mnt')): string[] {
  const ports = ['--api-port', '0', '--broker-port', '0', '--gateway-port', '0'];
  return ['--json', '--data-dir', join(folder, 'data'), ...ports, '--mountpoint', CAN_MOUNT ? mountpoint : 'none'];
}

test('a newcomer starts, calls, writes, stops, and finds everything again', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const first = new ServerProcess(t, args(folder));
  const ready = await first.ready();
  assert.equal(ready.event, 'ready');
  assert.match(ready.api, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.match(ready.broker, /^tcp:\/\/127\.0\.0\.1:\d+$/);
  assert.match(String(ready.gateway), /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.match(ready.database, /^postgresql:\/\//);
  assert.equal(ready.mountpoint, CAN_MOUNT ? join(folder, 'mnt') : null);
  assert.equal(statSync(ready.config).mode & 0o777, 0o600);

  const call = (...rest: string[]): string[] => [
    '-config',
    ready.config,
    '-service',
    'demo',
    '-plugin',
    'command/command',
    '-timeout',
    '10s',
    ...rest,
  ];
  const screen = await runProgram('client/bin.ts', call('-command', 'echo hello; echo there'));
  assert.equal(screen.code, 0, screen.stderr);
  assert.match(screen.stdout, /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d Sending message to service demo \(roundrobin\)\n/);
  assert.match(
    screen.stdout,
    /\[command\/command@demo01\] hello\n\[command\/command@demo01\] there\nExit code: 0\nTotal messages: 2\nTime ran: /,
  );
  assert.equal((await runProgram('client/bin.ts', call(), 'exit 7')).code, 7);

  if (CAN_MOUNT) {
    const trigger = join(folder, 'mnt', 'demo', 'command');
    writeFileSync(trigger, 'echo from-file\n');
    await until(() => readFileSync(trigger, 'utf8').includes('from-file'), { what: 'the answer in the trigger file' });
    await until(() => first.stdout.includes('from-file'), { what: 'the answer on the terminal' });
    writeFileSync(join(folder, 'mnt', 'demo', 'log'), 'one line\n');
    await until(() => existsSync(join(folder, 'data', 'demo.log')), { what: 'demo.log' });
    assert.equal(readFileSync(join(folder, 'data', 'demo.log'), 'utf8'), 'one line\n');
  }

  const started = performance.now();
  const { code, stderr } = await first.stop();
  assert.equal(code, 0, stderr);
  assert.ok(performance.now() - started < 10_000);
  assert.deepEqual(processesNaming(folder), []);
  assert.equal(isMounted(folder), false);

  const second = new ServerProcess(t, args(folder));
  const again = await second.ready();
  assert.equal(again.api, ready.api, 'a free port is taken again');
  assert.equal((await runProgram('client/bin.ts', call('-raw', '-command', 'echo again'))).stdout, 'again\n');
  if (CAN_MOUNT) assert.match(readFileSync(join(folder, 'mnt', 'demo', 'command'), 'utf8'), /from-file/);
});

test('after a SIGKILL the parts end by themselves and the next start works', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const first = new ServerProcess(t, args(folder));
  const ready = await first.ready();
  await first.stop('SIGKILL');
  const config = ready.config;
  await until(() => processesNaming(config).length === 0, { timeoutMs: 15_000, what: 'the end of all parts' });
  assert.equal(isMounted(folder), false);
  const second = new ServerProcess(t, args(folder));
  await second.ready();
  const { stdout } = await runProgram('client/bin.ts', [
    '-config',
    config,
    '-service',
    'demo',
    '-plugin',
    'echo',
    '-raw',
    '-command',
    'alive',
  ]);
  assert.equal(stdout, 'alive');
  assert.equal((await second.stop('SIGINT')).code, 0);
  assert.deepEqual(processesNaming(folder), []);
});

test('a part that crashes is started again', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const server = new ServerProcess(t, args(folder));
  const { api, config } = await server.ready();
  for (const part of ['edge-broker', 'worker-agent', 'control-plane', ...(CAN_MOUNT ? ['fs'] : [])]) {
    const [pid] = processesNaming(config, `/${part}/`);
    assert.ok(pid !== undefined, part);
    process.kill(pid, 'SIGKILL');
  }
  const postmaster = Number(readFileSync(join(folder, 'data', 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
  process.kill(postmaster, 'SIGKILL');
  const call = ['-config', config, '-service', 'demo', '-plugin', 'command/command', '-raw', '-command', 'echo back'];
  await until(async () => (await runProgram('client/bin.ts', call)).stdout === 'back\n', {
    timeoutMs: 30_000,
    what: 'a call after the crashes',
  });
  assert.match(server.stderr, /the broker ended \(SIGKILL\).*starting it again/);
  await until(() => server.stderr.includes('PostgreSQL was killed and has been started again'), { timeoutMs: 20_000, what: 'PostgreSQL' });
  await until(async () => (await fetch(`${api}/healthz`)).status === 200, { timeoutMs: 20_000, what: 'a healthy API' });
  if (!CAN_MOUNT) return;
  const trigger = join(folder, 'mnt', 'demo', 'command');
  await until(() => attempt(() => readFileSync(trigger, 'utf8')) !== null, { timeoutMs: 15_000, what: 'the mount' });
  writeFileSync(trigger, 'echo mounted-again\n');
  await until(() => readFileSync(trigger, 'utf8').includes('mounted-again'), { what: 'the answer' });
});

function attempt<T>(action: () => T): T | null {
  try {
    return action();
  } catch {
    return null;
  }
}
