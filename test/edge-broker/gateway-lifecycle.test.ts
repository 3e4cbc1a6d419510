import assert from 'node:assert/strict';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { startBroker } from '../../edge-broker/broker.ts';
import type { Bearer, Bearers } from '../../edge-broker/gateway/bearers.ts';
import { CallerRoutes, type Rule } from '../../edge-broker/gateway/caller-routes.ts';
import { Callers } from '../../edge-broker/gateway/callers.ts';
import { VERDICT_NAMES, Verdict } from '../../protocol/verdicts.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { DatabaseProxy } from '../support/database-proxy.ts';
import { masterKeySection } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { addressOf } from '../support/world.ts';
import { GatewayStage } from './gateway-stage.ts';

const LINES = { accept: 'application/x-ndjson' };

async function health(stage: GatewayStage): Promise<{ status: number; body: Record<string, string> }> {
  const response = await fetch(`${stage.broker.gatewayUrl}/healthz`);
  return { status: response.status, body: (await response.json()) as Record<string, string> };
}

test('a revoked login loses its open invocations at once, others keep theirs', async (t) => {
  const stage = await GatewayStage.create(t, { onTask: (task) => task.started() });
  const { world, owner, worker } = stage;
  const session = randomUUID();
  const live = await stage.post({ headers: { ...LINES, authorization: `Bearer ${world.token(owner, { session })}` } });
  const waiting = stage.post({ headers: { authorization: `Bearer ${world.token(owner, { session })}` } });
  const other = stage.ask();
  await until(() => worker.tasks.length === 3, { what: 'three tasks' });
  await world.sql.query("insert into triggerfs.revoked_sessions (session_id, expires_at) values ($1, now() + interval '1 hour')", [
    session,
  ]);
  const events = (await live.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual([events.at(-1).event, events.at(-1).error], ['done', 'TFS_REVOKED']);
  const answer = await waiting;
  assert.equal(answer.status, 401);
  assert.equal(((await answer.json()) as { code: string }).code, 'TFS_REVOKED');
  await until(() => worker.tasks.filter((task) => task.cancelled).length === 2, { what: 'two tasks are cancelled' });
  for (const task of worker.tasks) task.result(task.cancelled ? Verdict.cancelled : Verdict.ok);
  assert.equal((await other).status, 200);
});

test('draining: load balancers are told, new requests refused, open ones finish', async (t) => {
  const stage = await GatewayStage.create(t, {
    onTask: (task, { tasks }) => {
      task.started();
      if (tasks.length > 2) task.result();
    },
  });
  const { worker, broker } = stage;
  const open = stage.ask();
  const live = await stage.post({ headers: LINES });
  await until(() => worker.tasks.length === 2, { what: 'the tasks' });
  assert.deepEqual([(await health(stage)).status, (await health(stage)).body.status], [200, 'ok']);
  const stopped = broker.stop();
  const draining = await health(stage);
  assert.deepEqual([draining.status, draining.body.status], [503, 'draining']);
  const refused = await until(
    async () => {
      const asked = await stage.ask();
      return asked.status === 503 && asked;
    },
    { what: 'new requests are refused' },
  );
  assert.equal(refused.answer.code, 'TFS_DRAINING');
  assert.equal(refused.headers.get('retry-after'), '1');
  for (const task of worker.tasks.slice(0, 2)) {
    task.output('late');
    task.result();
  }
  assert.deepEqual([(await open).status, (await open).answer.output], [200, 'late']);
  assert.match(await live.text(), /"event":"done","verdict":"ok"/);
  await stopped;
  await assert.rejects(fetch(`${broker.gatewayUrl}/healthz`));
});

test('what does not end while the broker drains is answered, not cut off', async (t) => {
  const stage = await GatewayStage.create(t, { onTask: (task) => task.started() });
  const open = stage.ask();
  const live = await stage.post({ headers: LINES });
  await until(() => stage.worker.tasks.length === 2, { what: 'the tasks' });
  await stage.broker.stop();
  assert.deepEqual([(await open).status, (await open).answer.code], [503, 'TFS_DRAINING']);
  assert.match(await live.text(), /"event":"done".*"error":"TFS_DRAINING"/);
});

test('a reader that takes nothing does not keep the broker from stopping', async (t) => {
  const chunk = Buffer.alloc(32 * 1024, 'z');
  const stage = await GatewayStage.create(t, { onTask: (task) => task.started() });
  const { port, hostname } = new URL(stage.broker.gatewayUrl);
  const socket = connect(Number(port), hostname);
  t.after(() => socket.destroy());
  socket.on('error', () => undefined).pause();
  socket.write(
    `POST /v1/invoke/alpha/svc?plugin=echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${stage.token}\r\naccept: application/x-ndjson\r\ncontent-length: 0\r\n\r\n`,
  );
  const task = await until(() => stage.worker.tasks[0], { what: 'the task' });
  let idle = 0;
  const pump = setInterval(() => {
    idle += 1;
    while (task.credit >= chunk.length) {
      task.output(chunk);
      idle = 0;
    }
  }, 5);
  await until(() => idle > 50, { what: 'the reader is behind' });
  clearInterval(pump);
  task.result();
  const begun = performance.now();
  await stage.broker.stop();
  assert.ok(performance.now() - begun < 4_000, 'the broker stopped');
});

test('without its database the gateway goes on, and says so', async (t) => {
  const { world, owner, people, worker, token } = await GatewayStage.create(t);
  const proxy = await DatabaseProxy.start(t, world.url);
  const toml = `${masterKeySection()}[broker]\nport = 0\ngateway_port = 0\nkeyfile = "${join(world.folder, 'second.key')}"\ndrain = "1s"`;
  const broker = await startBroker({ config: parseConfig(toml, null), databaseUrl: proxy.url, log: silentLogger() });
  t.after(() => broker.stop());
  worker.join(addressOf(broker));
  await until(() => broker.dispatcher.workers.has(people[0]?.id ?? 0), { what: 'the worker' });
  const state = async (): Promise<string> => {
    const response = await fetch(`${broker.gatewayUrl}/healthz`);
    const { status, database } = (await response.json()) as { status: string; database: string };
    return `${response.status} ${status} ${database}`;
  };
  assert.equal(await state(), '200 ok reachable');
  proxy.cut();
  await until(async () => (await state()) === '200 ok unreachable', { what: 'the database is gone' });
  const post = (bearer: string): Promise<Response> =>
    fetch(`${broker.gatewayUrl}/v1/invoke/alpha/svc?plugin=echo`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}` },
      body: 'x',
    });
  assert.equal((await post(token)).status, 200);
  assert.equal((await post(world.token(owner))).status, 200);
  assert.equal((await post('tfs_unknown')).status, 401);
  proxy.heal();
  await until(async () => (await state()) === '200 ok reachable', { what: 'the database is back' });
});

test('metrics count what happened', async (t) => {
  const stage = await GatewayStage.create(t);
  await stage.ask({ payload: '12345' });
  await stage.ask({ plugin: 'unknown' });
  const text = await (await fetch(`${stage.broker.gatewayUrl}/metrics`)).text();
  const value = (name: string): number => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  assert.equal(value('triggerfs_requests_total'), 2);
  assert.equal(value('triggerfs_output_bytes_total'), 5);
  assert.equal(value('triggerfs_verdicts_total\\{verdict="ok"\\}'), 1);
  assert.equal(value('triggerfs_verdicts_total\\{verdict="denied"\\}'), 1);
  assert.equal(value('triggerfs_workers'), 1);
  assert.equal(value('triggerfs_sessions\\{role="worker"\\}'), 1);
  assert.equal(value('triggerfs_sessions\\{role="client"\\}'), 0);
  assert.deepEqual([value('triggerfs_hits_total'), value('triggerfs_open_runs'), value('triggerfs_waiting_runs')], [0, 0, 0]);
  assert.equal(value('triggerfs_gateway_sessions'), 1);
  for (const verdict of VERDICT_NAMES) assert.ok(text.includes(`verdict="${verdict}"`), verdict);
  assert.ok(value('process_resident_memory_bytes') > 0);
  assert.equal(value('triggerfs_gateway_answers_total\\{status="200"\\}'), 1);
  assert.equal(value('triggerfs_gateway_answers_total\\{status="404"\\}'), 1);
  assert.equal((text.match(/alpha|svc/g) ?? []).length, 0, 'no names of teams or services');
  const served = [...text.matchAll(/^# TYPE (triggerfs_\w+)/gm)].map(([, name]) => name);
  const described = [...readFileSync(new URL('../../docs/gateway.md', import.meta.url), 'utf8').matchAll(/`(triggerfs_\w+)`/g)].map(
    ([, name]) => name,
  );
  assert.deepEqual(described.sort(), served.sort());
});

test('metrics can be switched off', async (t) => {
  const stage = await GatewayStage.create(t, { settings: 'metrics = false' });
  assert.equal((await fetch(`${stage.broker.gatewayUrl}/metrics`)).status, 404);
});

test('unfinished bodies take their room from others only while they last', async (t) => {
  const stage = await GatewayStage.create(t);
  const { port, hostname } = new URL(stage.broker.gatewayUrl);
  const head = `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${stage.token}\r\ntransfer-encoding: chunked\r\n\r\n`;
  const sockets = Array.from({ length: 30 }, () =>
    connect(Number(port), hostname, function open(this: Socket) {
      this.write(head);
    }).on('error', () => undefined),
  );
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const large = { payload: 'x'.repeat(4 * 1024 * 1024) };
  const busy = await until(
    async () => {
      const { status, answer } = await stage.ask(large);
      return status === 503 && answer;
    },
    { what: 'the gateway is full' },
  );
  assert.equal(busy.code, 'TFS_BUSY');
  assert.equal((await stage.ask()).status, 200, 'small requests still find room');
  for (const socket of sockets) socket.destroy();
  await until(async () => (await stage.ask(large)).status === 200, { what: 'there is room again' });
});

test('sessions are kept per login, dropped when idle, and never while they are in use', async (t) => {
  const stage = await GatewayStage.create(t, { onTask: () => undefined });
  const bearers = { ended: () => null } as unknown as Bearers;
  const callers = new Callers(bearers, stage.broker.sessions, silentLogger());
  const bearer = (sessionId: string): Bearer => ({
    tokenHash: null,
    principal: {
      kind: 'user',
      subject: stage.owner.id,
      teamId: stage.owner.teamId,
      team: 'alpha',
      identity: 'owner',
      epoch: 1,
      sessionId,
      scopes: null,
      expiresAt: Number.POSITIVE_INFINITY,
      onlyService: null,
    },
  });
  const first = callers.session(bearer('a'));
  assert.equal(callers.session(bearer('a')), first);
  const second = callers.session(bearer('b'));
  assert.equal(callers.size, 2);
  const sink = { manifest: () => undefined, output: () => undefined, verdict: () => undefined, done: () => undefined };
  second.start({ service: 'alpha/svc', plugin: 'echo', args: {}, payload: Buffer.alloc(0), timeoutMs: 0 }, sink);
  assert.equal(callers.calls, 1);
  callers.sweep(Date.now() + 61_000);
  assert.deepEqual([callers.size, first.closed, second.closed], [1, true, false]);
  assert.notEqual(callers.session(bearer('a')), first);
  for (let i = 0; i < 1_100; i += 1) callers.session(bearer(`many${i}`));
  callers.sweep(Date.now());
  assert.equal(callers.size, 1_000);
  assert.equal(second.closed, false);
  const task = await until(() => stage.worker.tasks[0], { what: 'the task' });
  task.result();
  await until(() => callers.calls === 0, { what: 'the call is done' });
});

test('rules stay declared while they are used, and the ones not used for longest give way', () => {
  const log: string[] = [];
  const routes = new CallerRoutes({ route: (number) => log.push(`+${number}`), unroute: (number) => log.push(`-${number}`) });
  const rule = (service: string, args: Rule['args'] = {}): Rule => ({ service, plugin: 'echo', args });
  const busy = routes.acquire(rule('busy'));
  assert.equal(routes.acquire(rule('busy')), busy);
  routes.release(busy);
  for (let i = 0; i < 100; i += 1) routes.release(routes.acquire(rule(`s${i}`)));
  assert.equal(log.filter((line) => line.startsWith('+')).length, 101);
  assert.equal(log.filter((line) => line.startsWith('-')).length, 101 - 64);
  assert.ok(!log.includes(`-${busy.number}`));
  log.length = 0;
  routes.release(routes.acquire(rule('s99')));
  assert.deepEqual(log, []);
  routes.release(routes.acquire(rule('large', { data: 'x'.repeat(3000) })));
  assert.deepEqual(log, ['+102', '-102']);
});

test('garbage on the port harms nobody', async (t) => {
  const stage = await GatewayStage.create(t);
  const { port, hostname } = new URL(stage.broker.gatewayUrl);
  const bearer = `authorization: Bearer ${stage.token}`;
  const requests = [
    'GET / HTTP/9.9\r\n\r\n',
    'POST /v1/invoke/alpha/svc HTTP/1.1\r\n\r\n',
    `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\n${bearer}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\n${bearer}\r\ncontent-length: -1\r\n\r\n`,
    `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\n${bearer}\r\ncontent-length: 99999999999999999999\r\n\r\nx`,
    `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\n${bearer}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`,
    `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\n${bearer}\r\n${bearer}\r\ncontent-length: 2\r\n\r\n{}`,
    `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`,
    `GET /${'%'.repeat(5000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
    Buffer.from('16030100c6010000c20303', 'hex'),
    Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f]),
  ];
  const attack = (bytes: string | Buffer): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(Number(port), hostname, () => socket.end(bytes));
      const cut = setTimeout(() => socket.destroy(), 300);
      socket.on('error', () => undefined).on('data', () => undefined);
      socket.on('close', () => {
        clearTimeout(cut);
        resolve();
      });
    });
  await Promise.all(requests.map(attack));
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 20 }, () => attack(mutate(requests[randomInt(requests.length)] ?? ''))));
    assert.equal((await stage.ask()).answer.output, 'hello');
  }
  assert.equal(stage.broker.dispatcher.openRuns, 0);
});

/** Changes, cuts or replaces some bytes. */
function mutate(request: string | Buffer): Buffer {
  const bytes = Buffer.from(request);
  for (let i = randomInt(8); i >= 0; i -= 1) bytes[randomInt(bytes.length)] = randomInt(256);
  return randomInt(4) === 0 ? randomBytes(randomInt(1, 4096)) : bytes.subarray(0, randomInt(1, bytes.length + 1));
}
