import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { environment } from '../../runtime/environment.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

/** Why the test cannot run here, or null. Never skipped in CI: .ci/run installs what is missing. */
function missing(): string | null {
  const programs = ['nginx', 'wrk'].filter((program) => !existsSync(`/usr/sbin/${program}`) && !existsSync(`/usr/bin/${program}`));
  if (programs.length > 0) return `install ${programs.join(' and ')} (Debian packages of these names)`;
  if (!existsSync('/dev/fuse') || process.getuid?.() !== 0) return 'needs root and /dev/fuse';
  return null;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A real nginx that logs each request's number to a file. Returns its address. */
async function startNginx(t: TestContext, folder: string, log: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const port = await freePort();
  mkdirSync(folder);
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `user root; daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
     events { worker_connections 64; }
     http {
       log_format line '$connection $connection_requests $request_uri';
       access_log ${log} line;
       keepalive_requests 1000000;
       server { listen 127.0.0.1:${port}; location / { return 200 'ok'; } }
     }`,
  );
  const child = spawn('nginx', ['-e', join(folder, 'error.log'), '-c', config], { stdio: 'ignore' });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null) return;
    child.kill('SIGQUIT');
    await once(child, 'exit');
  };
  t.after(stop);
  const url = `http://127.0.0.1:${port}/`;
  await until(async () => (await fetch(`${url}probe`).catch(() => null))?.ok, { what: 'nginx answers' });
  return { url, stop };
}

/** Lines of the log, checked: each connection's requests are numbered from 1 without gap, repetition or disorder. */
function checkLines(text: string): number {
  const last = new Map<string, number>();
  const lines = text.split('\n');
  assert.equal(lines.pop(), '', 'the log ends with a whole line');
  for (const line of lines) {
    const [connection = '', request = ''] = line.split(' ');
    const previous = last.get(connection) ?? 0;
    assert.equal(Number(request), previous + 1, `after ${connection} ${previous} comes ${line}`);
    last.set(connection, previous + 1);
  }
  return lines.length;
}

test('nginx logs into a trigger file: each line exactly once and in order, with the broker killed in the middle', async (t) => {
  const reason = missing();
  if (reason !== null) {
    assert.ok(!environment().ci || reason.startsWith('needs'), `CI must not skip this: ${reason}`);
    t.skip(reason);
    return;
  }
  const system = await System.start(t, { mount: true });
  const log = join(system.folder, 'data', 'demo.log');
  const nginx = await startNginx(t, join(system.folder, 'nginx'), join(String(system.ready.mountpoint), 'demo', 'log'));
  const wrk = (seconds: number): number => {
    const report = execFileSync('wrk', ['-t1', '-c8', `-d${seconds}s`, `${nginx.url}x`], { encoding: 'utf8' });
    return Number(/(\d+) requests in/.exec(report)?.[1]);
  };
  let requests = wrk(2);
  const storm = spawn('wrk', ['-t1', '-c8', '-d6s', `${nginx.url}y`], { stdio: ['ignore', 'pipe', 'ignore'] });
  let report = '';
  storm.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    report += chunk;
  });
  const stormEnded = once(storm, 'close');
  await system.killPart('edge-broker');
  await stormEnded;
  requests += Number(/(\d+) requests in/.exec(report)?.[1]);
  assert.ok(requests >= 10_000, `wrk made ${requests} requests`);
  await nginx.stop();
  // wrk does not count requests that were under way when its time was up, nginx logs them all.
  let lines = 0;
  await until(
    () => {
      const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
      const now = text.split('\n').length - 1;
      const still = now === lines && now >= requests;
      lines = now;
      return still;
    },
    { timeoutMs: 60_000, what: 'all lines have arrived' },
  );
  assert.ok(lines <= requests + 64, `${lines} lines for ${requests} requests`);
  assert.equal(checkLines(readFileSync(log, 'utf8')), lines);
});
