import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readMappedRequest } from '../../edge-broker/gateway/invoke-request.ts';
import type { MappedRequest } from '../../edge-broker/gateway/mapping.ts';
import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import { HTTP_DEFAULTS } from '../../protocol/http/gateway.ts';
import { httpProblem } from '../../protocol/http/gateway-check.ts';
import { parseSource } from '../../protocol/http/gateway-source.ts';
import { randomNumbers } from '../support/random.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
const PUSH = JSON.stringify({
  ref: 'refs/heads/main',
  repository: { full_name: 'acme/shop', private: false, topics: ['a', 'b'] },
  commits: [{ id: 'c1', added: 3 }, { id: 'c2' }],
  size: 2,
  'odd key.["x"]': 'odd',
  nothing: null,
});

interface Given {
  readonly args?: Record<string, string>;
  readonly payload?: string;
  readonly request?: Partial<MappedRequest> | undefined;
}

function map({ args = {}, payload = 'body', request = {} }: Given): { args: Readonly<Record<string, string>>; payload: string } {
  const whole: MappedRequest = {
    method: 'POST',
    query: {},
    headers: JSON_TYPE,
    body: Buffer.from(PUSH),
    address: '203.0.113.7',
    ...request,
  };
  const mapped = readMappedRequest({ team: 'alpha', service: 'svc', plugin: 'echo', mapping: { payload, args } }, whole);
  return { args: mapped.args, payload: mapped.payload.toString() };
}

function refusal(given: Given): [ErrorCode, string] {
  try {
    map(given);
  } catch (error) {
    assert.ok(error instanceof TriggerFsError, String(error));
    return [error.code, error.message];
  }
  assert.fail('it was taken');
}

suite('mapping of requests', () => {
  const VALUES: readonly (readonly [source: string, value: string, request?: Partial<MappedRequest>])[] = [
    ['$.ref', 'refs/heads/main'],
    ['$.repository.full_name', 'acme/shop'],
    ['$["repository"]["full_name"]', 'acme/shop'],
    ['$.repository.private', 'false'],
    ['$.commits[1].id', 'c2'],
    ['$.size', '2'],
    ['integer:$.size', '2'],
    ['number:$.commits[0].added', '3'],
    ['boolean:$.repository.private', 'false'],
    ['json:$.repository.topics', '["a","b"]'],
    ['json:$.ref', '"refs/heads/main"'],
    ['$["odd key.[\\"x\\"]"]', 'odd'],
    ['$.commits[5].id?=none', 'none'],
    ['$.nothing?=empty', 'empty'],
    ['$.missing?=', ''],
    ['const:as it is?', 'as it is?'],
    ['method', 'POST'],
    ['address', '203.0.113.7'],
    ['query.who', 'me & you', { query: { who: 'me & you' } }],
    ['header.X-GitHub-Event', 'push', { headers: { ...JSON_TYPE, 'x-github-event': 'push' } }],
    ['form.To', '+1800', { headers: FORM_TYPE, body: Buffer.from('From=x&To=%2B1800&Body=a+b') }],
    ['form.Body', 'a b', { headers: FORM_TYPE, body: Buffer.from('From=x&To=%2B1800&Body=a+b') }],
    ['integer:query.n', '-7', { query: { n: '-7' } }],
    ['boolean:query.on', 'true', { query: { on: 'Yes' } }],
    ['json:query.data', '{"a":1}', { query: { data: '{"a":1}' } }],
    ['$.a?=x', 'x', { body: Buffer.alloc(0) }],
    ['$.a', 'vendor', { headers: { 'content-type': 'application/vnd.github+json' }, body: Buffer.from('{"a":"vendor"}') }],
  ];
  for (const [source, value, request] of VALUES) {
    test(`${source} is ${JSON.stringify(value)}`, () => {
      assert.equal(httpProblem({ ...HTTP_DEFAULTS, args: { a: source } }), null);
      assert.deepEqual(map({ args: { a: source }, request }).args, { a: value });
    });
  }

  test('an optional argument that is missing is not there at all', () => {
    assert.deepEqual(map({ args: { a: '$.missing?', b: 'query.b?', c: 'header.x?', d: '$.nothing?' } }).args, {});
  });

  test('the payload is the body, a part of it, or nothing', () => {
    assert.equal(map({}).payload, PUSH);
    assert.equal(map({ payload: 'none' }).payload, '');
    assert.equal(map({ payload: '$.ref' }).payload, 'refs/heads/main');
    assert.equal(map({ payload: '$.commits[1]' }).payload, '{"id":"c2"}');
    assert.equal(map({ payload: '$.missing?' }).payload, '');
    assert.equal(map({ payload: 'form.Body', request: { headers: FORM_TYPE, body: Buffer.from('Body=%C3%A4') } }).payload, 'ä');
    const bytes = Buffer.from([0, 255, 128]);
    const raw = { method: 'POST', query: {}, headers: {}, body: bytes, address: '' };
    assert.deepEqual(
      readMappedRequest({ team: 'a', service: 's', plugin: 'p', mapping: { payload: 'body', args: {} } }, raw).payload,
      bytes,
    );
  });

  const WRONG: readonly (readonly [what: string, code: ErrorCode, message: RegExp, given: Given])[] = [
    [
      'missing',
      'TFS_BAD_ARGUMENT',
      /the argument to is missing: the request has no \$\.repository\.owner/,
      { args: { to: '$.repository.owner' } },
    ],
    ['null', 'TFS_BAD_ARGUMENT', /the argument a is missing/, { args: { a: '$.nothing' } }],
    ['missing payload', 'TFS_BAD_ARGUMENT', /the payload is missing/, { payload: '$.message' }],
    ['an object', 'TFS_BAD_ARGUMENT', /the argument a has to be a text, and \$\.repository is an object/, { args: { a: '$.repository' } }],
    ['a list', 'TFS_BAD_ARGUMENT', /a list/, { args: { a: '$.commits' } }],
    ['no number', 'TFS_BAD_ARGUMENT', /has to be a whole number/, { args: { a: 'integer:$.ref' } }],
    [
      'a fraction',
      'TFS_BAD_ARGUMENT',
      /a whole number, and integer:query\.n is "1\.5"/,
      { args: { a: 'integer:query.n' }, request: { query: { n: '1.5' } } },
    ],
    ['infinite', 'TFS_BAD_ARGUMENT', /a number/, { args: { a: 'number:query.n' }, request: { query: { n: '1e999' } } }],
    ['no truth', 'TFS_BAD_ARGUMENT', /true or false/, { args: { a: 'boolean:query.n' }, request: { query: { n: 'maybe' } } }],
    ['no JSON', 'TFS_BAD_ARGUMENT', /JSON/, { args: { a: 'json:query.n' }, request: { query: { n: '{' } } }],
    ['twice', 'TFS_BAD_ARGUMENT', /more than once/, { args: { a: 'query.n' }, request: { query: { n: ['1', '2'] } } }],
    ['NUL', 'TFS_BAD_ARGUMENT', /no argument can have/, { args: { a: 'query.n' }, request: { query: { n: 'a\0b' } } }],
    ['half a character', 'TFS_BAD_REQUEST', /half a character/, { payload: '$.x', request: { body: Buffer.from('{"x":"\\ud800"}') } }],
    ['bad JSON', 'TFS_BAD_JSON', /the body is not JSON/, { args: { a: '$.a' }, request: { body: Buffer.from('{"a":') } }],
    ['no UTF-8', 'TFS_BAD_JSON', /the body is not JSON/, { args: { a: '$.a' }, request: { body: Buffer.from([0x22, 0xff, 0x22]) } }],
    [
      'another type',
      'TFS_UNSUPPORTED_MEDIA',
      /reads application\/json, not "text\/plain"/,
      { args: { a: '$.a' }, request: { headers: { 'content-type': 'text/plain' } } },
    ],
    ['no form', 'TFS_UNSUPPORTED_MEDIA', /x-www-form-urlencoded, not "application\/json"/, { args: { a: 'form.a' } }],
    [
      'a huge argument',
      'TFS_TOO_LARGE',
      /more than 65536 bytes/,
      { args: { a: 'query.n' }, request: { query: { n: 'x'.repeat(70_000) } } },
    ],
    [
      'a huge form',
      'TFS_TOO_LARGE',
      /10000 fields/,
      { args: { a: 'form.a?' }, request: { headers: FORM_TYPE, body: Buffer.alloc(50_000, 'a&') } },
    ],
    ['prototype', 'TFS_BAD_ARGUMENT', /missing/, { args: { a: '$.__proto__' } }],
    ['constructor', 'TFS_BAD_ARGUMENT', /missing/, { args: { a: '$.constructor.name' } }],
    ['length of a list', 'TFS_BAD_ARGUMENT', /missing/, { args: { a: '$.commits.length' } }],
    ['a text is no list', 'TFS_BAD_ARGUMENT', /missing/, { args: { a: '$.ref[0]' } }],
    ['method of a query', 'TFS_BAD_ARGUMENT', /missing/, { args: { a: 'query.toString' } }],
  ];
  for (const [what, code, message, given] of WRONG) {
    test(`refused: ${what}`, () => {
      const [got, text] = refusal(given);
      assert.equal(got, code, text);
      assert.match(text, message);
    });
  }

  test('what is no place is no source', () => {
    const texts = [
      '',
      '$..a',
      '$.a[*]',
      '$.a[-1]',
      '$[?(@.a)]',
      '$.a.',
      '$a',
      '$.a b',
      '$["a]',
      'cookie.x',
      'form.',
      'body.x',
      'header.a b',
      '$.a?x',
      'x'.repeat(2000),
    ];
    for (const text of texts) assert.equal(parseSource(text), null, text);
    assert.match(httpProblem({ ...HTTP_DEFAULTS, args: { a: '$.a', b: 'form.b' } }) ?? '', /only one of them/);
    for (const secret of ['authorization', 'Cookie', 'Proxy-Authorization']) {
      assert.match(httpProblem({ ...HTTP_DEFAULTS, args: { a: `header.${secret}` } }) ?? '', /secret of the caller/);
    }
  });

  test('whatever comes, a request is mapped or refused with the reason', () => {
    const random = randomNumbers(20_261_121);
    const names = ['a', 'b', '__proto__', 'constructor', 'x y', '0', 'toString', 'é'];
    const texts = ['', 'text', '\0', '\ud800', '1', 'true', '{"a":1}', 'x'.repeat(100)];
    const value = (depth: number): unknown => {
      const kinds: readonly (() => unknown)[] = [
        () => null,
        () => random(2) === 0,
        () => random(1e9) * (random(2) - 0.5),
        () => texts[random(texts.length)],
        () => '0123456789'.repeat(random(30)),
        () => ({}),
        () => Array.from({ length: random(4) }, () => value(depth + 1)),
        () => Object.fromEntries(Array.from({ length: random(5) }, () => [names[random(names.length)], value(depth + 1)])),
      ];
      return kinds[random(depth > 4 ? 6 : 8)]?.();
    };
    const step = (): string => [`.${names[random(2)]}`, `[${random(3)}]`, `["${names[random(names.length)]}"]`][random(3)] as string;
    const source = (): string => {
      const type = ['', '', 'integer:', 'number:', 'boolean:', 'json:', 'text:'][random(7)];
      const place = [
        () => `$${Array.from({ length: random(4) }, step).join('')}`,
        () => `form.${names[random(names.length)]}`,
        () => `query.${names[random(names.length)]}`,
        () => 'header.x-a',
        () => 'body',
        () => 'const:x',
      ][random(6)] as () => string;
      return `${type}${place()}${['', '?', '?=1'][random(3)]}`;
    };
    const deep = `${'['.repeat(60_000)}${']'.repeat(60_000)}`;
    const body = (): Buffer => {
      const kind = random(6);
      if (kind < 3) return Buffer.from(JSON.stringify(value(0)));
      if (kind === 3) return Buffer.from(new URLSearchParams(names.map((name): [string, string] => [name, String(value(9))])).toString());
      if (kind === 4) return Buffer.from(Array.from({ length: random(64) }, () => random(256)));
      return random(40) === 0 ? Buffer.from(`{"a":${deep}}`) : Buffer.alloc(0);
    };
    const outcomes = new Map<string, number>();
    for (let i = 0; i < 20_000; i += 1) {
      const args = Object.fromEntries(Array.from({ length: 1 + random(3) }, (_, n) => [`a${n}`, source()]));
      const headers = [JSON_TYPE, JSON_TYPE, FORM_TYPE, {}, { 'content-type': '\0', 'x-a': 'v' }][random(5)] as Record<string, string>;
      const query = Object.assign(Object.create(null), { a: String(value(9)), b: ['1', '2'] }) as Record<string, unknown>;
      const request = { method: 'POST', query, headers, body: body(), address: '::1' };
      const payload = source();
      if (Object.values({ ...args, payload }).some((text) => parseSource(text) === null)) continue;
      let outcome = 'mapped';
      try {
        const mapped = map({ args, payload, request }).args;
        assert.ok(Object.values(mapped).every((text) => typeof text === 'string' && !text.includes('\0') && text.isWellFormed()));
      } catch (error) {
        assert.ok(error instanceof TriggerFsError, `${JSON.stringify(args)} ${request.body.toString().slice(0, 200)}: ${String(error)}`);
        const { status } = error.definition;
        assert.ok(status >= 400 && status < 500, error.code);
        outcome = error.code;
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    for (const each of ['mapped', 'TFS_BAD_ARGUMENT', 'TFS_BAD_JSON', 'TFS_UNSUPPORTED_MEDIA'])
      assert.ok((outcomes.get(each) ?? 0) > 100, each);
  });
});
