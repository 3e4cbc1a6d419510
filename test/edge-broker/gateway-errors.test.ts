import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import { TokenSigner } from '../../runtime/tokens.ts';
import { until } from '../support/wait.ts';
import { GatewayStage } from './gateway-stage.ts';

const run = promisify(execFile);

interface Case {
  readonly what: string;
  readonly code: ErrorCode;
  readonly status?: number;
  readonly url?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer<ArrayBuffer>;
}

const body = (fields: Record<string, unknown>): string => JSON.stringify({ plugin: 'echo', ...fields });

async function check(stage: GatewayStage, { what, code, status, url, headers, body: sent }: Case): Promise<void> {
  const response = await stage.post({
    ...(url === undefined ? {} : { url }),
    ...(headers === undefined ? {} : { headers }),
    ...(sent === undefined ? {} : { body: sent }),
  });
  const problem = (await response.json()) as Problem;
  const expected = status ?? ERRORS[code].status;
  assert.deepEqual([problem.code, response.status, problem.status], [code, expected, expected], `${what}: ${problem.detail}`);
  assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/, what);
  assert.equal(response.headers.get('retry-after'), expected === 503 ? '1' : null, what);
  assert.equal(problem.hint, ERRORS[code].hint);
  assert.ok(problem.detail.length > 0 && !problem.detail.includes(stage.token), what);
}

suite('what callers do wrong', () => {
  test('each mistake has its own code', async (t) => {
    const stage = await GatewayStage.create(t);
    const { world, owner, broker } = stage;
    await world.addTeam('beta');
    await world.addService(owner, 'strict', { plugins: ['command/command'] });
    await world.addService(owner, 'empty');
    await until(() => broker.directory.team(owner.teamId)?.services.has('empty') && broker.directory.teamNamed('beta') !== undefined, {
      what: 'the broker knows the services',
    });
    const cases: readonly Case[] = [
      { what: 'wrong token', code: 'TFS_UNAUTHENTICATED', headers: { authorization: 'Bearer nonsense' } },
      { what: 'wrong team', code: 'TFS_WRONG_TEAM', url: stage.url('beta/svc') },
      { what: 'unknown service', code: 'TFS_UNKNOWN_SERVICE', url: stage.url('alpha/nothing') },
      { what: 'unknown plugin', code: 'TFS_UNKNOWN_PLUGIN', body: body({ plugin: 'unknown/one' }) },
      { what: 'plugin not allowed', code: 'TFS_PLUGIN_NOT_ALLOWED', url: stage.url('alpha/strict') },
      { what: 'no worker', code: 'TFS_NO_WORKER', url: stage.url('alpha/empty') },
      { what: 'oversized body', code: 'TFS_TOO_LARGE', body: body({ payload: 'x'.repeat(6 * 1024 * 1024) }) },
      { what: 'bad JSON', code: 'TFS_BAD_JSON', body: '{"plugin":' },
      { what: 'bad timeout', code: 'TFS_BAD_TIMEOUT', body: body({ timeout: 'soon' }) },
      { what: 'bad media type', code: 'TFS_UNSUPPORTED_MEDIA', headers: { 'content-type': 'text/plain' } },
      { what: 'bad name', code: 'TFS_BAD_NAME', body: body({ plugin: '../../bin/sh' }) },
      { what: 'bad argument', code: 'TFS_BAD_ARGUMENT', body: body({ args: { 'a b': '1' } }) },
      { what: 'unknown field', code: 'TFS_BAD_REQUEST', body: body({ team: 'beta' }) },
      { what: 'unknown address', code: 'TFS_NOT_FOUND', url: `${broker.gatewayUrl}/v1/invoke` },
    ];
    for (const each of cases) await check(stage, each);
    assert.equal(new Set(cases.map((each) => each.code)).size, cases.length);
    assert.equal(stage.worker.tasks.length, 0);
    assert.equal((await stage.ask()).answer.output, 'hello');
  });

  test('bodies and queries are taken literally or not at all', async (t) => {
    const stage = await GatewayStage.create(t);
    const raw = (query: Record<string, string>): string => stage.url('alpha/svc', query);
    const deep = `{"plugin":"echo","args":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`;
    const cases: readonly Case[] = [
      { what: 'JSON array', code: 'TFS_BAD_JSON', body: '["echo"]' },
      { what: 'JSON null', code: 'TFS_BAD_JSON', body: 'null' },
      { what: 'empty body', code: 'TFS_BAD_JSON', body: '' },
      { what: 'no UTF-8', code: 'TFS_BAD_JSON', body: Buffer.from([0x22, 0xff, 0x22]) },
      { what: 'no plugin', code: 'TFS_BAD_REQUEST', body: '{}' },
      { what: 'plugin of another type', code: 'TFS_BAD_REQUEST', body: '{"plugin":["echo"]}' },
      { what: 'prototype', code: 'TFS_BAD_REQUEST', body: '{"plugin":"echo","__proto__":{"payload":"x"}}' },
      { what: 'two payloads', code: 'TFS_BAD_REQUEST', body: body({ payload: 'a', command: 'b' }) },
      { what: 'bad base64', code: 'TFS_BAD_REQUEST', body: body({ payloadBase64: 'ab$=' }) },
      { what: 'half a character', code: 'TFS_BAD_REQUEST', body: '{"plugin":"echo","payload":"\\ud800"}' },
      { what: 'nested arguments', code: 'TFS_BAD_REQUEST', body: deep },
      { what: 'NUL in an argument', code: 'TFS_BAD_ARGUMENT', body: body({ args: { a: 'x\0' } }) },
      { what: 'too many arguments', code: 'TFS_TOO_LARGE', body: body({ args: { a: 'x'.repeat(70_000) } }) },
      { what: 'timeout as number', code: 'TFS_BAD_TIMEOUT', body: body({ timeout: 10 }) },
      { what: 'timeout of zero', code: 'TFS_BAD_TIMEOUT', body: body({ timeout: '0s' }) },
      { what: 'negative timeout', code: 'TFS_BAD_TIMEOUT', body: body({ timeout: '-1s' }) },
      { what: 'timeout of a year', code: 'TFS_BAD_TIMEOUT', body: body({ timeout: '365d' }) },
      { what: 'timeout in the query', code: 'TFS_BAD_TIMEOUT', url: raw({ plugin: 'echo', timeout: 'x' }) },
      { what: 'payload over the limit', code: 'TFS_TOO_LARGE', url: raw({ plugin: 'echo' }), body: Buffer.alloc(4 * 1024 * 1024 + 1) },
      { what: 'unknown parameter', code: 'TFS_BAD_REQUEST', url: raw({ plugin: 'echo', team: 'beta' }) },
      { what: 'parameter twice', code: 'TFS_BAD_REQUEST', url: `${raw({ plugin: 'echo' })}&plugin=echo` },
      { what: 'query without plugin', code: 'TFS_BAD_REQUEST', url: raw({ timeout: '3s' }) },
      { what: 'plugin name in the query', code: 'TFS_BAD_NAME', url: raw({ plugin: 'a/../b' }) },
      { what: 'content type with an appendix', code: 'TFS_UNSUPPORTED_MEDIA', headers: { 'content-type': 'application/json garbage' } },
      { what: 'content type like JSON', code: 'TFS_UNSUPPORTED_MEDIA', headers: { 'content-type': 'application/jsonx' } },
      { what: 'malformed content type', code: 'TFS_UNSUPPORTED_MEDIA', headers: { 'content-type': 'json' } },
    ];
    for (const each of cases) await check(stage, each);
    assert.equal(stage.worker.tasks.length, 0);
  });

  test('tokens that are not for this door are refused', async (t) => {
    const stage = await GatewayStage.create(t);
    const { world, owner } = stage;
    const viewer = await world.addUser(owner.teamId, 'alpha', 'looker', 'viewer');
    const stranger = new TokenSigner(
      randomUUID(),
      generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    );
    const claims = JSON.parse(Buffer.from(stage.token.split('.')[1] as string, 'base64url').toString());
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const { kid } = JSON.parse(Buffer.from(stage.token.split('.')[0] as string, 'base64url').toString());
    const { rows } = await world.sql.query('select public_key from triggerfs.signing_keys');
    const unsigned = `${part({ alg: 'HS256', typ: 'at+jwt', kid })}.${part(claims)}`;
    const forged = `${unsigned}.${createHmac('sha256', rows[0].public_key).update(unsigned).digest('base64url')}`;
    const tokens: readonly (readonly [string, string, ErrorCode])[] = [
      ['none', '', 'TFS_UNAUTHENTICATED'],
      ['Basic', 'Basic YTpi', 'TFS_UNAUTHENTICATED'],
      ['two words', `Bearer ${stage.token} x`, 'TFS_UNAUTHENTICATED'],
      ['too long', `Bearer ${'x'.repeat(9000)}`, 'TFS_UNAUTHENTICATED'],
      ['for the API', `Bearer ${world.token(owner, { audience: 'triggerfs-api' })}`, 'TFS_UNAUTHENTICATED'],
      ['expired', `Bearer ${world.token(owner, { lifeSeconds: -1 })}`, 'TFS_UNAUTHENTICATED'],
      ['of another key', `Bearer ${stranger.sign(claims, 'triggerfs-edge')}`, 'TFS_UNAUTHENTICATED'],
      ['changed', `Bearer ${stage.token.slice(0, -4)}AAAA`, 'TFS_UNAUTHENTICATED'],
      ['alg none', `Bearer ${part({ alg: 'none', typ: 'at+jwt', kid })}.${part(claims)}.`, 'TFS_UNAUTHENTICATED'],
      ['public key as secret', `Bearer ${forged}`, 'TFS_UNAUTHENTICATED'],
      ['unknown API token', 'Bearer tfs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'TFS_UNAUTHENTICATED'],
      ['of nobody', `Bearer ${world.token({ ...owner, id: 4711 })}`, 'TFS_UNAUTHENTICATED'],
      ['of an old epoch', `Bearer ${world.token(owner, { epoch: 0 })}`, 'TFS_UNAUTHENTICATED'],
      ['of a worker', `Bearer ${world.token(stage.people[0] ?? owner)}`, 'TFS_FORBIDDEN'],
      ['of a viewer', `Bearer ${world.token(viewer)}`, 'TFS_FORBIDDEN'],
      ['without the scope', `Bearer ${world.token(owner, { scopes: ['read'] })}`, 'TFS_FORBIDDEN'],
    ];
    for (const [what, authorization, code] of tokens) {
      await until(() => stage.broker.directory.team(owner.teamId)?.members.has(viewer.id), { what: 'the viewer is known' });
      await check(stage, { what, code, headers: { authorization } });
    }
    assert.equal(stage.worker.tasks.length, 0);
    const scoped = await stage.post({ headers: { authorization: `Bearer ${world.token(owner, { scopes: ['invoke'] })}` } });
    assert.equal(scoped.status, 200);
  });

  test('an API token works from the moment it is made until it is deleted or ends', async (t) => {
    const stage = await GatewayStage.create(t);
    const { world, owner } = stage;
    const add = async (name: string, expires: string | null): Promise<string> => {
      const token = `tfs_${randomUUID()}`;
      await world.sql.query(
        'insert into triggerfs.api_tokens (team_id, user_id, name, token_hash, expires_at) values ($1, $2, $3, $4, now() + $5::interval)',
        [owner.teamId, owner.id, name, createHash('sha256').update(token).digest(), expires],
      );
      return token;
    };
    const headers = async (token: string): Promise<Record<string, string>> => ({ authorization: `Bearer ${token}` });
    const token = await add('good', null);
    // No waiting: the gateway reads the configuration again for a token that it does not know.
    assert.equal((await stage.post({ headers: await headers(token) })).status, 200);
    const old = await add('old', '-1 second');
    await until(() => [...(stage.broker.directory.team(owner.teamId)?.apiTokens.values() ?? [])].length === 2, {
      what: 'the second token',
    });
    await check(stage, { what: 'ended', code: 'TFS_UNAUTHENTICATED', headers: await headers(old) });
    await world.sql.query('update triggerfs.users set token_epoch = token_epoch + 1 where id = $1', [owner.id]);
    await until(() => stage.broker.directory.team(owner.teamId)?.members.get(owner.id)?.epoch === 2, { what: 'the new epoch' });
    await check(stage, { what: 'login before the epoch', code: 'TFS_REVOKED' });
    assert.equal((await stage.post({ headers: await headers(token) })).status, 200);
    await world.sql.query("delete from triggerfs.api_tokens where name = 'good'");
    await until(() => [...(stage.broker.directory.team(owner.teamId)?.apiTokens.values() ?? [])].length === 1, {
      what: 'the token is gone',
    });
    await check(stage, { what: 'deleted', code: 'TFS_UNAUTHENTICATED', headers: await headers(token) });
  });

  test('another team’s service is reached when it is public, and looks absent otherwise', async (t) => {
    const stage = await GatewayStage.create(t);
    const { world, owner, people } = stage;
    const guest = await world.addTeam('beta');
    await world.addService(owner, 'open', { visibility: 'public', plugins: ['echo'], workers: people });
    await until(
      () => stage.broker.directory.teamNamed('alpha')?.services.has('open') && stage.broker.directory.team(guest.teamId) !== undefined,
      { what: 'the broker knows them' },
    );
    const headers = { authorization: `Bearer ${world.token(guest)}` };
    assert.equal((await stage.post({ url: stage.url('alpha/open'), headers })).status, 200);
    await check(stage, { what: 'not public', code: 'TFS_WRONG_TEAM', url: stage.url('alpha/svc'), headers });
    await check(stage, { what: 'absent', code: 'TFS_WRONG_TEAM', url: stage.url('alpha/none'), headers });
    await check(stage, { what: 'no such team', code: 'TFS_WRONG_TEAM', url: stage.url('gamma/svc'), headers });
    await check(stage, { what: 'worker of another team', code: 'TFS_WRONG_TEAM', url: stage.url('alpha/worker1'), headers });
  });

  test('paths lead nowhere else', async (t) => {
    const stage = await GatewayStage.create(t);
    const { port, hostname } = new URL(stage.broker.gatewayUrl);
    const ask = (path: string): Promise<{ status: number; body: string }> =>
      new Promise((resolve, reject) => {
        const headers = { authorization: `Bearer ${stage.token}`, 'content-type': 'application/json' };
        const sent = request({ host: hostname, port, method: 'POST', path, headers }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        });
        sent.on('error', reject);
        sent.end(JSON.stringify({ plugin: 'echo' }));
      });
    const paths: readonly (readonly [string, number, ErrorCode])[] = [
      ['/v1/invoke/alpha/../beta/svc', 404, 'TFS_NOT_FOUND'],
      ['/v1/invoke/alpha/%2e%2e', 400, 'TFS_BAD_NAME'],
      ['/v1/invoke/alpha/a%2f..%2fsvc', 400, 'TFS_BAD_NAME'],
      ['/v1/invoke/alpha%2fsvc/svc', 400, 'TFS_BAD_NAME'],
      ['/v1/invoke/alpha/svc%00', 400, 'TFS_BAD_NAME'],
      ['/v1/invoke/alpha/..%5csvc', 400, 'TFS_BAD_NAME'],
      ['/v1/invoke/alpha/%c0%ae%c0%ae', 400, 'TFS_BAD_REQUEST'],
      ['/v1/invoke/alpha/%zz', 400, 'TFS_BAD_REQUEST'],
      ['/v1/invoke/alpha/__proto__', 404, 'TFS_UNKNOWN_SERVICE'],
      ['/v1/invoke/alpha/constructor', 404, 'TFS_UNKNOWN_SERVICE'],
      ['//v1/invoke/alpha/svc', 404, 'TFS_NOT_FOUND'],
      ['/v1/invoke/alpha/svc/', 404, 'TFS_NOT_FOUND'],
    ];
    for (const [path, status, code] of paths) {
      const answer = await ask(path);
      assert.deepEqual([answer.status, (JSON.parse(answer.body) as Problem).code], [status, code], path);
    }
    const long = await ask(`/v1/invoke/alpha/${'a'.repeat(10_000)}`);
    assert.ok(long.status >= 400 && long.status < 500);
    assert.equal((JSON.parse(long.body) as Problem).status, long.status);
    assert.equal(stage.worker.tasks.length, 0);
  });

  test('curl sees the answer to a body that is refused unread', async (t) => {
    const stage = await GatewayStage.create(t);
    const send = async (...args: string[]): Promise<Problem> => {
      const sent = run('curl', ['-sS', '--data-binary', '@-', ...args, stage.url('alpha/svc', { plugin: 'echo' })]);
      sent.child.stdin?.on('error', () => undefined).end(Buffer.alloc(8 * 1024 * 1024));
      return JSON.parse((await sent).stdout) as Problem;
    };
    assert.equal((await send('-H', `Authorization: Bearer ${stage.token}`)).code, 'TFS_TOO_LARGE');
    assert.equal((await send('-H', 'Authorization: Bearer x')).code, 'TFS_UNAUTHENTICATED');
    assert.equal((await send('-H', `Authorization: Bearer ${stage.token}`, '-H', 'Transfer-Encoding: chunked')).code, 'TFS_TOO_LARGE');
    assert.equal((await send('-H', `Authorization: Bearer ${stage.token}`, '-H', 'Expect:')).code, 'TFS_TOO_LARGE');
  });
});
