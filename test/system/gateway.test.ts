import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import type { KeptInvocation } from '../../protocol/http/gateway-kept.ts';
import { suiteCleanup } from '../control-plane/fixture.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const SECRET = 'canary-7f3a-not-to-be-seen';

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // Tests look into answers of all shapes.
  readonly body: { [key: string]: unknown };
}

suite('the gateway of a whole system', () => {
  const cleanup = suiteCleanup();
  let system: System;

  before(async () => {
    system = await System.start(cleanup, { mount: false });
    await commit([
      'set services name web',
      'set services web workers add demo01',
      'set services web plugins add command/command',
      'set services web visibility public',
      'set services web http methods get,post',
      'set services web http plugin command/command',
      'set services web http payload "const:echo \\"<h1>$TRIGGERFS_ARG_WHO</h1>\\"; exit $TRIGGERFS_ARG_CODE"',
      'set services web http map who=query.who?=you',
      'set services web http map code=integer:query.code?',
      'set services web http answer raw text/html',
      'set services web http status 4=404',
      'set services web http anonymous on',
      'set services web http origins https://app.example.com',
      'set services demo http hook push',
      'set services demo http hook push scheme github',
      'set services demo http hook push plugin command/command',
      'set services demo http hook push payload "const:echo $TRIGGERFS_ARG_REPO"',
      'set services demo http hook push map repo=$.repository.full_name',
    ]);
    await system.api('POST', '/v1/services/demo/hooks/push/secret', { secret: SECRET });
  });

  async function commit(commands: readonly string[]): Promise<void> {
    await system.api('POST', '/v1/configuration/commit', { commands });
  }

  async function ask(path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Reply> {
    const response = await fetch(system.ready.gateway + path, init);
    const text = await response.text();
    const isJson = (response.headers.get('content-type') ?? '').includes('json');
    return { status: response.status, headers: response.headers, text, body: isJson && !text.includes('}\n{') ? JSON.parse(text) : {} };
  }

  const bearer = (): Record<string, string> => ({ authorization: `Bearer ${system.login.edgeToken}` });

  function invoke(command: string, headers: Record<string, string> = {}): Promise<Reply> {
    const body = JSON.stringify({ plugin: 'command/command', command });
    return ask('/v1/invoke/demo/demo', { method: 'POST', headers: { ...bearer(), 'content-type': 'application/json', ...headers }, body });
  }

  async function ended(location: string): Promise<KeptInvocation> {
    const reply = await ask(location, { headers: { ...bearer(), prefer: 'wait=20' } });
    assert.equal(reply.status, 200, reply.text);
    return reply.body as unknown as KeptInvocation;
  }

  test('a page for everyone: a function behind a firewall answers browsers', async () => {
    await until(async () => (await ask('/v1/invoke/demo/web')).status === 200, { what: 'the page' });
    const page = await ask('/v1/invoke/demo/web?who=world');
    assert.deepEqual([page.status, page.text, page.headers.get('content-type')], [200, '<h1>world</h1>\n', 'text/html']);
    assert.equal((await ask('/v1/invoke/demo/web?code=4')).status, 404);
    assert.equal((await ask('/v1/invoke/demo/web?code=1')).status, 500);
    const wrong = await ask('/v1/invoke/demo/web?code=x');
    assert.deepEqual([wrong.status, wrong.body.code], [400, 'TFS_BAD_ARGUMENT']);
    const cors = await ask('/v1/invoke/demo/web', { headers: { origin: 'https://app.example.com' } });
    assert.equal(cors.headers.get('access-control-allow-origin'), 'https://app.example.com');
  });

  test('accepted, run by the queue, asked for by its address: result, output, live from the first byte', async () => {
    const accepted = await invoke('for i in 1 2 3; do echo line $i; sleep 0.4; done; echo oops >&2; exit 3', { prefer: 'respond-async' });
    assert.equal(accepted.status, 202, accepted.text);
    const location = accepted.headers.get('location') ?? '';
    const live = await ask(location, { headers: { ...bearer(), accept: 'application/x-ndjson' } });
    const events = live.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const output = (stream: string): string =>
      events
        .filter((event) => event.event === 'output' && event.stream === stream)
        .map(({ data }) => data)
        .join('');
    assert.deepEqual([output('stdout'), output('stderr')], ['line 1\nline 2\nline 3\n', 'oops\n']);
    assert.equal(events[0]?.event, 'invocation');
    assert.deepEqual(events.at(-2)?.event, 'verdict');
    assert.deepEqual([events.at(-1)?.event, events.at(-1)?.exitCode], ['done', 3]);
    const { state, exitCode, result } = await ended(location);
    assert.deepEqual([state, exitCode, result?.output, result?.stderr], ['dead', 3, 'line 1\nline 2\nline 3\n', 'oops\n']);
    const bytes = await ask(`${location}/output`, { headers: bearer() });
    assert.deepEqual([bytes.status, bytes.text], [200, 'line 1\nline 2\nline 3\n']);
    assert.equal((await ask(`${location}/output?stream=stderr`, { headers: bearer() })).text, 'oops\n');
  });

  test('wait answers as a direct call does; a key runs once and gives the first answer', async () => {
    const waited = await invoke('echo quick', { prefer: 'respond-async, wait=20' });
    assert.deepEqual([waited.status, waited.body.output, waited.body.verdict], [200, 'quick\n', 'ok']);
    const key = { 'idempotency-key': 'order-1' };
    const [first, second] = await Promise.all([invoke('echo $$', key), invoke('echo $$', key)]);
    assert.deepEqual([first?.status, second?.status], [200, 200]);
    assert.equal(first?.body.output, second?.body.output);
    assert.equal((await invoke('echo $$', key)).body.output, first?.body.output);
    assert.equal((await invoke('echo another', key)).status, 409);
    const live = await invoke('echo $$', { ...key, accept: 'text/event-stream' });
    assert.match(live.text, new RegExp(`"data":${JSON.stringify(first?.body.output).replace(/\\/g, '\\\\')}`));
  });

  test('a webhook runs on the worker, and the history names its source', async () => {
    const body = JSON.stringify({ repository: { full_name: 'acme/shop' } });
    const sign = (secret: string): string => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
    const deliver = (signature: string): Promise<Reply> =>
      ask('/v1/hooks/demo/push', {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature },
      });
    const begun = performance.now();
    const accepted = await deliver(sign(SECRET));
    assert.equal(accepted.status, 202, accepted.text);
    assert.ok(performance.now() - begun < 5_000);
    const { state, result } = await ended(String(accepted.headers.get('location')));
    assert.deepEqual([state, result?.output], ['done', 'acme/shop\n']);
    assert.equal((await deliver(sign('wrong'))).status, 401);
    assert.deepEqual((await deliver(sign(SECRET))).body.id, accepted.body.id);
    const kept = async (): Promise<[string, string] | undefined> => {
      const { items } = await system.api<{ items: { id: string; caller: string }[] }>('GET', '/v1/history?source=webhook');
      return items.map(({ id, caller }): [string, string] => [id, caller])[0];
    };
    assert.deepEqual(await until(kept, { what: 'the row of the history' }), [accepted.body.id, 'push']);
    // Rotation: the old secret stays good, then a new one without it.
    const made = await system.api<{ secret: string }>('POST', '/v1/services/demo/hooks/push/secret', { keepPreviousMinutes: 0 });
    assert.match(made.secret, /^[0-9a-f]{64}$/);
    await until(async () => (await deliver(sign(SECRET))).status === 401, { what: 'the old secret has ended' });
    assert.equal((await deliver(sign(made.secret))).status, 202);
  });

  test('no secret is in logs, answers, measurements or the configuration', async () => {
    const token = system.login.edgeToken;
    const texts = [
      (await ask('/metrics')).text,
      (await ask('/openapi.json')).text,
      JSON.stringify(await system.api('GET', '/v1/services/demo/hooks')),
      JSON.stringify(await system.api('GET', '/v1/services/demo')),
      JSON.stringify(await system.api('GET', '/v1/configuration')),
      JSON.stringify(await system.api('GET', '/v1/configuration/commits')),
      system.server.stdout + system.server.stderr,
      ...logs(join(system.folder, 'data')),
    ];
    for (const text of texts) {
      assert.equal(text.includes(SECRET), false);
      assert.equal(text.includes(token), false);
    }
  });

  function logs(folder: string): string[] {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.log'))
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'));
  }
});
