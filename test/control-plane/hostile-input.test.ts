import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { type Call, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

/** Texts that one layer or another might stumble over. */
const TEXTS = [
  ...['\0', '\ud800', 'x'.repeat(5000), "';--", '%', '../..', '-1', '1e9', '9223372036854775808', 'NaN', '__proto__', '1 mon', '-1h'],
  ...['+275760-09-13T00:00:00Z', '0000-01-01T00:00:00Z', '2026-02-30', '9999-12-31T23:59:59-23:59', '2026-01-01T00:00:00+99:99'],
  ...['ffffffff-ffff-7fff-ffff-ffffffffffff', '/a/b', 'a/kept', '*/0 * * * *', '0 0 30 2 *', 'zAAAA', '1.1.2147483647.999999'],
  ...['OTk5OTk5OTk5OTk5OTkuZmZmZmZmZmYtZmZmZi03ZmZmLWZmZmYtZmZmZmZmZmZmZmZm'],
];
const VALUES: readonly unknown[] = [
  ...[null, true, -1, 0.5, 2_147_483_648, 31_622_400_000, Number.MAX_SAFE_INTEGER, 1e308, [], {}, { a: 'a\0b' }, { a: '\ud800' }],
  ...[{ a: 'x'.repeat(70_000) }, { trigger: '/a\0b' }, { callback: 'https://[' }],
];
const QUERIES: readonly (readonly [route: string, names: readonly string[]])[] = [
  ['GET /v1/history', ['service', 'trigger', 'worker', 'verdict', 'caller', 'source', 'plugin', 'since', 'until', 'before', 'limit']],
  ['GET /v1/history/ID/output', ['worker', 'stream', 'follow', 'after']],
  ['GET /v1/statistics', ['service', 'since']],
  ['GET /v1/queue', ['state', 'service', 'caller', 'before', 'limit']],
  ['GET /v1/schedules/kept/preview', ['count']],
  ['GET /v1/schedules/kept/fires', ['before', 'outcome', 'limit']],
];
const PATHS = [
  ...['GET /v1/history/X', 'GET /v1/history/X/output', 'POST /v1/history/X/replay', 'GET /v1/invocations/X', 'DELETE /v1/invocations/X'],
  ...['POST /v1/invocations/X/redrive', 'GET /v1/schedules/X', 'GET /v1/schedules/X/fires', 'GET /v1/schedules/X/preview'],
  ...['POST /v1/schedules/X/run', 'POST /v1/schedules/X/resume', 'DELETE /v1/schedules/X', 'DELETE /v1/redactions/X'],
];
const BODIES: readonly (readonly [route: string, body: Readonly<Record<string, unknown>>, names: readonly string[]])[] = [
  [
    'POST /v1/invocations',
    { service: 'echo', plugin: 'p', delay: '1d' },
    [
      ...['service', 'plugin', 'payload', 'payloadBase64', 'args', 'timeout', 'delay', 'priority', 'retries', 'backoff', 'maxAge'],
      ...['concurrencyKey', 'onSuccess', 'onFailure'],
    ],
  ],
  [
    'PATCH /v1/schedules/kept',
    {},
    [
      ...['description', 'cron', 'everyMs', 'runAt', 'timezone', 'trigger', 'service', 'plugin', 'args', 'payload', 'catchupWindowMs'],
      ...['jitterMs', 'pausedUntil', 'resident', 'offlineMs', 'timeoutMs', 'retries'],
    ],
  ],
  ['POST /v1/schedules/kept/pause', {}, ['until']],
  ['POST /v1/queue/redrive', {}, ['service', 'state']],
  ['PUT /v1/redactions/word', {}, ['word']],
];
const AT_ONCE = 8;

suite('hostile input', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup, { requestsPerSecond: 100_000 });
    token = await api.tokenOf('owner');
    await api.call('POST /v1/services', { token, body: { name: 'echo', visibility: 'team' } });
    await api.call('POST /v1/schedules', { token, body: { name: 'kept', cron: '0 0 1 1 *', service: 'echo', plugin: 'p' } });
  });

  /** Sends all and expects that none breaks anything. */
  async function send(calls: readonly (readonly [route: string, call: Call])[]): Promise<void> {
    const broken: string[] = [];
    const left = calls.values();
    const work = async (): Promise<void> => {
      for (const [route, call] of left) {
        const { status, body } = await api.call(route, { token, ...call });
        if (status >= 500) broken.push(`${route.slice(0, 200)} ${JSON.stringify(call).slice(0, 200)}: ${status} ${body.detail}`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    assert.deepEqual(broken, []);
  }

  const encoded = (text: string): string => encodeURIComponent(text.toWellFormed());

  test('in queries and paths breaks no route of history, queue and schedules', async () => {
    const id = randomUUID();
    const queries = QUERIES.flatMap(([route, names]) =>
      names.flatMap((name) => TEXTS.map((text) => [`${route.replace('ID', id)}?${name}=${encoded(text)}`, {}] as const)),
    );
    const paths = PATHS.flatMap((route) => TEXTS.map((text) => [route.replace('X', encoded(text)), {}] as const));
    await send([...queries, ...paths]);
  });

  test('in bodies and headers breaks none either', async () => {
    const bodies = BODIES.flatMap(([route, body, names]) =>
      names.flatMap((name) => [...TEXTS, ...VALUES].map((value) => [route, { body: { ...body, [name]: value } }] as const)),
    );
    const plain = TEXTS.map((text) => text.replaceAll(/[^\x20-\x7e]/g, '?'));
    const headers = plain.flatMap((text): (readonly [string, Call])[] => [
      [`GET /v1/history/${randomUUID()}/output`, { headers: { 'last-event-id': text, range: text, accept: 'text/event-stream' } }],
      ['POST /v1/invocations', { body: { service: 'echo', plugin: 'p', delay: '1d' }, headers: { 'idempotency-key': text } }],
    ]);
    await send([...bodies, ...headers]);
    // Whatever was taken of it can be shown.
    await send([
      ['GET /v1/schedules', {}],
      ['GET /v1/schedules/kept/preview?count=100', {}],
      ['GET /v1/queue?limit=500', {}],
    ]);
  });
});
