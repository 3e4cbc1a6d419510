import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { environment } from '../../runtime/environment.ts';
import type { FakeTask } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { HookStage } from './hook-stage.ts';

const SECRET = '12345';

/** Whether the test can run here. Never skipped in CI: .ci/run installs what is missing. */
function hasNginx(): boolean {
  return existsSync('/usr/sbin/nginx') || existsSync('/usr/bin/nginx');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A real nginx as docs/gateway.md sets it up. Returns its address. */
async function startNginx(t: TestContext, folder: string, gateway: string): Promise<string> {
  const port = await freePort();
  mkdirSync(folder);
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
     events { worker_connections 64; }
     http {
       access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f;
       uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
       server {
         listen 127.0.0.1:${port};
         location / {
           proxy_pass ${gateway}; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h; client_max_body_size 6m;
           proxy_set_header Host $http_host;
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
           proxy_set_header X-Forwarded-Host $http_host;
           proxy_set_header X-Forwarded-Proto https;
         }
       }
     }`,
  );
  const child = spawn('nginx', ['-e', join(folder, 'error.log'), '-c', config], { stdio: 'ignore' });
  t.after(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGQUIT');
    await once(child, 'exit');
  });
  const url = `http://127.0.0.1:${port}`;
  await until(async () => (await fetch(`${url}/healthz`).catch(() => null))?.ok, { what: 'nginx answers' });
  return url;
}

test('behind nginx: addresses are the client’s, Twilio’s signature fits, output is live', async (t) => {
  if (!hasNginx()) {
    assert.equal(environment().ci, false, 'CI must not skip this: install nginx');
    return t.skip('install nginx (Debian package of this name)');
  }
  let running: FakeTask | null = null;
  const hooks = await HookStage.create(t, {
    settings: 'proxies = "127.0.0.1"',
    service: {
      visibility: 'public',
      plugins: ['echo'],
      http: { anonymous: true, plugin: 'echo', payload: 'none', args: { address: 'address' }, rate: '2/h' },
    },
    onTask: (task) => {
      task.started();
      task.output('first\n');
      running = task;
      if (task.plan.args.live === undefined) task.result();
    },
  });
  const { stage } = hooks;
  await hooks.addHook('calls', { scheme: 'twilio', mode: 'sync', payload: 'form.Body' }, [SECRET]);
  const proxy = await startNginx(t, join(stage.world.folder, 'nginx'), stage.broker.gatewayUrl);

  // The client of this test is on the machine of nginx, so it may be a proxy itself.
  const open = (forwarded: string): Promise<Response> =>
    fetch(`${proxy}/v1/invoke/alpha/svc`, { method: 'POST', headers: { 'x-forwarded-for': forwarded }, body: 'x' });
  assert.equal((await open('203.0.113.1')).status, 200);
  assert.deepEqual(stage.worker.tasks[0]?.plan.args, { address: '203.0.113.1' });

  const host = new URL(proxy).host;
  const body = 'Body=hello&MessageSid=SM1';
  const signed = `https://${host}/v1/hooks/alpha/calls?lang=enBodyhelloMessageSidSM1`;
  const deliver = (signature: string): Promise<Response> =>
    fetch(`${proxy}/v1/hooks/alpha/calls?lang=en`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-twilio-signature': signature },
      body,
    });
  assert.equal((await deliver(createHmac('sha1', SECRET).update(signed).digest('base64'))).status, 200);
  assert.equal((await deliver(createHmac('sha1', SECRET).update(signed.replace('https', 'http')).digest('base64'))).status, 401);

  const live = await fetch(`${proxy}/v1/invoke/alpha/svc?plugin=echo&args.live=1`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stage.token}`, accept: 'application/x-ndjson' },
    body: 'x',
  });
  const reader = (live.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  while (!text.includes('first')) text += Buffer.from((await reader.read()).value ?? []).toString();
  assert.equal(text.includes('"done"'), false, 'the first line came before the end');
  (running as FakeTask | null)?.result();
  for (let part = await reader.read(); !part.done; part = await reader.read()) text += Buffer.from(part.value).toString();
  assert.match(text, /"event":"done","verdict":"ok"/);
});
