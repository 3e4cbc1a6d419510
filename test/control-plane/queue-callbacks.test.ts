import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { checkCallback, isPublicAddress } from '../../control-plane/queue/callback-address.ts';
import { postCallback } from '../../control-plane/queue/callback-post.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import { QueueStage } from './queue-stage.ts';

interface Delivery {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A web server that notes what it gets. */
async function receiver(
  t: TestContext,
  answer: (response: ServerResponse, count: number) => void,
): Promise<{ port: number; got: Delivery[]; server: Server }> {
  const got: Delivery[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      got.push({ path: request.url ?? '', headers: request.headers, body });
      answer(response, got.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, got, server };
}

test('callbacks reach public addresses only', () => {
  const refused = [
    ...['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '127.9.9.9', '169.254.169.254', '172.16.0.1', '172.31.255.255', '192.168.1.1'],
    ...['192.0.0.1', '192.0.2.1', '198.18.0.1', '198.51.100.7', '203.0.113.9', '224.0.0.1', '239.1.1.1', '255.255.255.255'],
    ...['::', '::1', '::ffff:127.0.0.1', '::ffff:10.1.1.1', 'fe80::1', 'fec0::1', 'fc00::1', 'fd00:ec2::254', 'ff02::1', '64:ff9b::7f00:1'],
    ...['2001:db8::1', '2002:7f00:1::', '2001::1', '100::1', 'nonsense'],
  ];
  for (const address of refused) assert.equal(isPublicAddress(address), false, address);
  for (const address of ['1.1.1.1', '8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8']) {
    assert.equal(isPublicAddress(address), true, address);
  }
});

test('a callback is refused when any address of its host is private, unless the host is named', async () => {
  const names: Readonly<Record<string, readonly string[]>> = {
    'good.example': ['93.184.216.34'],
    'mixed.example': ['93.184.216.34', '10.0.0.1'],
    'inside.example': ['10.0.0.1'],
    'none.example': [],
  };
  const resolve = async (host: string): Promise<{ address: string; family: number }[]> => {
    const literal = /^[\d.]+$|:/.test(host) ? [host] : names[host];
    if (literal === undefined) throw new Error('not found');
    return literal.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  };
  const check = async (url: string, allowed: readonly string[] = []): Promise<string> => {
    try {
      return (await checkCallback(url, allowed, resolve)).address;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  assert.equal(await check('https://good.example/hook'), '93.184.216.34');
  const forbidden = [
    ...['http://mixed.example/', 'http://inside.example/', 'http://127.0.0.1/', 'http://2130706433/', 'http://0x7f.1/', 'http://[::1]/'],
    ...[
      'http://[::ffff:169.254.169.254]/',
      'http://169.254.169.254/latest/meta-data',
      'ftp://good.example/',
      'file:///etc/passwd',
      'http://',
    ],
    ...['https://user:pass@good.example/', 'gopher://good.example', 'http://0/'],
  ];
  for (const url of forbidden) assert.equal(await check(url), 'TFS_FORBIDDEN', url);
  assert.equal(await check('http://unknown.example/'), 'TFS_UNAVAILABLE');
  assert.equal(await check('http://none.example/'), 'TFS_UNAVAILABLE');
  assert.equal(await check('http://inside.example/', ['INSIDE.example']), '10.0.0.1');
  assert.equal(await check('http://inside.example:8080/', ['inside.example:8080']), '10.0.0.1');
  assert.equal(await check('http://inside.example:8081/', ['inside.example:8080']), 'TFS_FORBIDDEN');
});

test('a callback connects to the address that was checked, follows nothing and reads little', async (t) => {
  const { port, got } = await receiver(t, (response, count) => {
    if (count === 1) response.writeHead(302, { location: 'http://127.0.0.1/' }).end();
    else if (count === 2) response.writeHead(500).end();
    else response.writeHead(200).end(Buffer.alloc(1024 * 1024));
  });
  const to = { url: new URL(`http://name.example:${port}/hook?a=1`), address: '127.0.0.1', family: 4 } as const;
  const post = (): Promise<void> => postCallback(to, 'id', Buffer.from('{}'), Buffer.alloc(32));
  await assert.rejects(post(), /HTTP 302/);
  await assert.rejects(post(), /HTTP 500/);
  await post();
  assert.equal(got.length, 3);
  assert.equal(got[0]?.headers.host, `name.example:${port}`);
  assert.equal(got[0]?.path, '/hook?a=1');
});

test('a result is posted, signed, and tried again until it is taken', async (t) => {
  const { port, got } = await receiver(t, (response, count) => response.writeHead(count === 1 ? 503 : 204).end());
  const stage = await QueueStage.start(t, `callbacks = "127.0.0.1:${port}"`);
  await stage.service('s', (task) => {
    task.output('the output');
    task.result(Verdict.failed, 4);
  });
  const id = await stage.enqueue({
    onFailure: { callback: `http://127.0.0.1:${port}/done` },
    onSuccess: { callback: 'http://127.0.0.1:1/' },
  });
  assert.equal((await stage.ended(id)).state, 'dead');
  await until(() => got.length >= 2, { timeoutMs: 40_000, what: 'the callback is tried again' });
  const delivery = got[1] as Delivery;
  const body = JSON.parse(delivery.body) as Record<string, unknown>;
  assert.deepEqual(
    [body.invocation, body.state, body.verdict, body.exitCode, body.output, body.team, body.service],
    [id, 'dead', 'failed', 4, 'the output', 'a', 's'],
  );
  const admin = await stage.api.tokenOf('admin');
  const { secret } = (await stage.api.call('GET /v1/queue/secret', { token: admin })).body as unknown as { secret: string };
  const [, seconds = '', mac = ''] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(delivery.headers['x-triggerfs-signature'])) ?? [];
  assert.equal(mac, createHmac('sha256', Buffer.from(secret, 'hex')).update(`${seconds}.${delivery.body}`).digest('hex'));
  await until(async () => (await stage.api.sql('select from triggerfs.queue_callbacks')).length === 0, {
    what: 'the callback is forgotten',
  });
  const other = (await stage.api.call('POST /v1/queue/secret', { token: admin })).body as unknown as { secret: string };
  assert.notEqual(other.secret, secret);
});

test('a callback that must not be sent ends as a letter', async (t) => {
  const { port, got } = await receiver(t, (response) => response.writeHead(204).end());
  const stage = await QueueStage.start(t);
  await stage.service('s');
  const id = await stage.enqueue({ onSuccess: { callback: `http://127.0.0.1:${port}/` } });
  await stage.ended(id);
  const mail = await until(
    async () =>
      (await stage.api.sql<{ subject: string; body: string }>(`select subject, body from triggerfs.mails where kind = 'queue'`))[0],
    { what: 'a letter comes' },
  );
  assert.equal(mail.subject, 'A callback was not delivered');
  assert.match(mail.body, new RegExp(`${id}.*127\\.0\\.0\\.1 is no public address`));
  assert.equal(got.length, 0);
});

test('a result fires another trigger, and follow-ups of follow-ups come to an end', async (t) => {
  const stage = await QueueStage.start(t);
  const worker = await stage.service('s', (task) => {
    task.output(`ran ${task.plan.args.step ?? 'first'}`);
    task.result();
  });
  const { token } = stage;
  await stage.api.call('POST /v1/directories', { token, body: { path: '/next' } });
  const rule = { service: 's', plugin: 'p', args: { step: 'second' }, visibility: 'team' };
  assert.equal((await stage.api.call('POST /v1/triggers', { token, body: { path: '/next/step', ...rule } })).status, 201);
  const id = await stage.enqueue({ onSuccess: { trigger: '/next/step' } });
  await stage.ended(id);
  await until(() => worker.tasks.length === 2, { what: 'the follow-up runs' });
  const followed = worker.tasks[1];
  assert.equal(followed?.plan.args.step, 'second');
  const payload = JSON.parse(followed?.payload.toString() ?? '{}') as Record<string, unknown>;
  assert.deepEqual([payload.invocation, payload.state, payload.output], [id, 'done', 'ran first']);
  await stage.api.sql('update triggerfs.queue_items set depth = 8 where id = $1', [id]);
  await stage.api.sql(`select triggerfs.queue_follow($1, '/next/step', gen_random_uuid(), '')`, [id]);
  const [mail] = await stage.api.sql<{ body: string }>(`select body from triggerfs.mails where kind = 'queue'`);
  assert.match(mail?.body ?? '', /end after eight/);
  assert.equal(worker.tasks.length, 2);
});
