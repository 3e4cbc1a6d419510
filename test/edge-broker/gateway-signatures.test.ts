import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { suite, test } from 'node:test';
import { expectationOf } from '../../edge-broker/gateway/webhooks/schemes.ts';
import { checkSignature, type Delivery, type Refusal, type Signed } from '../../edge-broker/gateway/webhooks/signature.ts';
import { HOOK_DEFAULTS, type HookSettings } from '../../protocol/http/gateway.ts';

/** A signed request. The first of each scheme is the sender's own documented example. */
interface Sample {
  readonly scheme: HookSettings['scheme'];
  readonly what: string;
  readonly settings?: Partial<HookSettings>;
  readonly secret: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly url?: string;
  /** Seconds since 1970 at which it was signed. */
  readonly at?: number;
  /** Header that holds the signature, and the part of it that may be damaged. */
  readonly signature: string;
}

const FORM = 'application/x-www-form-urlencoded';
const CALL = 'CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212';
const SLACK_BODY =
  'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA' +
  '&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554' +
  '%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c';
const sign = (digest: string, key: string, text: string, encoding: 'hex' | 'base64' = 'hex'): string =>
  createHmac(digest, key).update(text).digest(encoding);
const EVENT = '{"id":"evt_1","type":"charge.succeeded","created":1492774577}';
const JSON_CALL = '{"property": "value", "boolean": true}';
const JSON_URL = `https://mycompany.com/myapp.php?bodySHA256=${createHash('sha256').update(JSON_CALL).digest('hex')}`;

const SAMPLES: readonly Sample[] = [
  {
    scheme: 'github',
    what: 'the example of its documentation',
    secret: "It's a Secret to Everybody",
    headers: { 'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' },
    body: 'Hello, World!',
    signature: 'x-hub-signature-256',
  },
  {
    scheme: 'slack',
    what: 'the example of its documentation',
    secret: '8f742231b10e8888abcd99yyyzzz85a5',
    headers: {
      'x-slack-request-timestamp': '1531420618',
      'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
    },
    body: SLACK_BODY,
    at: 1531420618,
    signature: 'x-slack-signature',
  },
  {
    scheme: 'twilio',
    what: 'the example of its documentation',
    secret: '12345',
    headers: { 'content-type': FORM, 'x-twilio-signature': 'RSOYDt4T1cUTdK1PDd93/VVr8B8=' },
    body: CALL,
    url: 'https://mycompany.com/myapp.php?foo=1&bar=2',
    signature: 'x-twilio-signature',
  },
  {
    scheme: 'twilio',
    what: 'the newer example of its documentation',
    secret: '12345',
    headers: { 'content-type': FORM, 'x-twilio-signature': '0/KCTR6DLpKmkAf8muzZqo1nDgQ=' },
    body: CALL.replaceAll('14158675309', '12349013030'),
    url: 'https://mycompany.com/myapp.php?foo=1&bar=2',
    signature: 'x-twilio-signature',
  },
  {
    scheme: 'twilio',
    what: 'an address with the port that Twilio leaves out',
    secret: '12345',
    headers: { 'content-type': FORM, 'x-twilio-signature': 'RSOYDt4T1cUTdK1PDd93/VVr8B8=' },
    body: CALL,
    url: 'https://mycompany.com:443/myapp.php?foo=1&bar=2',
    signature: 'x-twilio-signature',
  },
  {
    scheme: 'twilio',
    what: 'an address that a proxy hides, with fields that are there twice',
    settings: { url: 'https://mycompany.com/myapp.php' },
    secret: '12345',
    headers: { 'content-type': FORM, 'x-twilio-signature': sign('sha1', '12345', 'https://mycompany.com/myapp.php?foo=1A1A7B0', 'base64') },
    body: 'B=0&A=7&A=1&A=1',
    url: 'http://127.0.0.1:8643/v1/hooks/alpha/calls?foo=1',
    signature: 'x-twilio-signature',
  },
  {
    scheme: 'twilio',
    what: 'a JSON body, which the address stands for',
    secret: '12345',
    headers: { 'content-type': 'application/json', 'x-twilio-signature': sign('sha1', '12345', JSON_URL, 'base64') },
    body: JSON_CALL,
    url: JSON_URL,
    signature: 'x-twilio-signature',
  },
  {
    scheme: 'standard',
    what: 'the example of its specification',
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    headers: {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= v1a,xyz v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    },
    body: '{"test": 2432232314}',
    at: 1614265330,
    signature: 'webhook-signature',
  },
  {
    scheme: 'stripe',
    what: 'several signatures, of which one fits',
    secret: 'whsec_test_secret',
    headers: {
      'stripe-signature': `t=1492774577,v1=${'0'.repeat(64)},v1=${sign('sha256', 'whsec_test_secret', `1492774577.${EVENT}`)},v0=${'6'.repeat(64)}`,
    },
    body: EVENT,
    at: 1492774577,
    signature: 'stripe-signature',
  },
  {
    scheme: 'hmac',
    what: 'the defaults',
    secret: 'correct horse',
    headers: { 'x-signature': sign('sha256', 'correct horse', 'payload') },
    body: 'payload',
    signature: 'x-signature',
  },
  {
    scheme: 'hmac',
    what: 'another header, prefix, digest and encoding, and a signed time',
    settings: { header: 'x-acme', prefix: 'v1=', digest: 'sha512', encoding: 'base64', timestamp: 'x-acme-time' },
    secret: 'correct horse',
    headers: { 'x-acme': `v1=${sign('sha512', 'correct horse', '1700000000.payload', 'base64')}`, 'x-acme-time': '1700000000' },
    body: 'payload',
    at: 1700000000,
    signature: 'x-acme',
  },
];

function check(sample: Sample, changed: Partial<Sample> = {}, secrets = [sample.secret], lateSeconds = 0): Signed | Refusal {
  const { scheme, settings, headers, body, url, at = 0 } = { ...sample, ...changed };
  const receivedAt = (at + lateSeconds) * 1000;
  const delivery: Delivery = { headers, body: Buffer.from(body), url: url ?? 'http://127.0.0.1:8643/v1/hooks/alpha/h', receivedAt };
  const hook = { ...HOOK_DEFAULTS, scheme, ...settings };
  return checkSignature(
    expectationOf(delivery, hook),
    secrets.map((secret) => Buffer.from(secret)),
    receivedAt,
    hook.toleranceMs,
  );
}

function identity(result: Signed | Refusal): string | null {
  assert.ok(typeof result === 'object', String(result));
  return result.identity;
}

suite('signatures of webhooks', () => {
  for (const sample of SAMPLES) {
    test(`${sample.scheme}: ${sample.what}`, () => {
      const accepted = check(sample);
      assert.equal(typeof accepted, 'object', 'accepted');
      assert.deepEqual(check(sample, {}, ['another', sample.secret]), accepted, 'accepted while secrets are exchanged');
      assert.equal(check(sample, {}, ['another']), 'wrong', 'wrong secret');
      assert.equal(check(sample, {}, []), 'wrong', 'no secret');
      assert.equal(check(sample, {}, [`x${sample.secret}`]), 'wrong');
      const { [sample.signature]: signature = '', ...others } = sample.headers;
      assert.equal(check(sample, { headers: others }), 'missing', 'no signature');
      for (const given of ['', 'sha256=', 'x'.repeat(9000), signature.split('').reverse().join('')]) {
        assert.notEqual(typeof check(sample, { headers: { ...others, [sample.signature]: given } }), 'object', given.slice(0, 40));
      }
      for (let at = 0; at < sample.body.length; at += 1) {
        const body = `${sample.body.slice(0, at)}${sample.body[at] === '1' ? '2' : '1'}${sample.body.slice(at + 1)}`;
        assert.notEqual(typeof check(sample, { body }), 'object', `body with another byte ${at}`);
      }
      assert.notEqual(typeof check(sample, { body: `${sample.body}&x=1` }), 'object', 'longer body');
    });

    if (sample.at !== undefined) {
      test(`${sample.scheme}: ${sample.what}, too old or too early`, () => {
        for (const late of [299, -299]) assert.equal(typeof check(sample, {}, undefined, late), 'object', String(late));
        for (const late of [301, -301, 1e9]) assert.equal(check(sample, {}, undefined, late), 'stale', String(late));
        // Who does not have the secret learns nothing about time.
        assert.equal(check(sample, {}, ['another'], 301), 'wrong');
        const time = String(sample.at);
        for (const given of ['', 'x', `${time}.5`, '-1', String((sample.at ?? 0) + 1), '99999999999999999999']) {
          const headers = Object.fromEntries(Object.entries(sample.headers).map(([name, text]) => [name, text.replace(time, given)]));
          assert.notEqual(typeof check(sample, { headers }), 'object', given);
        }
      });
    }
  }

  test('what tells deliveries apart is signed', () => {
    const [github, slack, twilio] = SAMPLES as [Sample, Sample, Sample];
    const of = (scheme: string): Sample => SAMPLES.find((sample) => sample.scheme === scheme) as Sample;
    const unsigned = { headers: { ...github.headers, 'x-github-delivery': 'another' } };
    assert.equal(identity(check(github, unsigned)), identity(check(github)));
    assert.equal(identity(check(of('stripe'))), 'evt_1');
    assert.equal(identity(check(of('standard'))), 'msg_p5jXN8AQM9LWM0D4loKWxJek');
    assert.match(identity(check(slack)) ?? '', /^[0-9a-f]{64}$/);
    assert.match(identity(check(twilio)) ?? '', /^[0-9a-f]{64}$/);
    // Neither are ids beside a keyed hash, unless the hook believes them.
    const plain = of('hmac');
    const beside = { headers: { ...plain.headers, 'x-id': '7' } };
    const digest = identity(check(plain)) ?? '';
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.equal(identity(check(plain, beside)), digest);
    assert.equal(identity(check(plain, { ...beside, settings: { delivery: 'x-id' } })), 'id 7');
    // Where the id is not there, or could be taken for a digest, what is signed counts.
    assert.equal(identity(check(plain, { settings: { delivery: 'x-id' } })), digest);
    assert.notEqual(identity(check(plain, { headers: { ...plain.headers, 'x-id': digest }, settings: { delivery: 'x-id' } })), digest);
    assert.equal(identity(check(plain, { ...beside, settings: { delivery: 'none' } })), null);
  });

  test('Twilio: the address counts, and a body that its hash does not stand for is none', () => {
    const calls = SAMPLES.filter(({ scheme }) => scheme === 'twilio');
    for (const sample of calls) {
      if (sample.settings?.url !== undefined) continue;
      const url = (sample.url ?? '').replace('mycompany', 'yourcompany');
      assert.equal(check(sample, { url }), 'wrong', sample.what);
      assert.notEqual(typeof check(sample, { url: `${sample.url}&x=1` }), 'object', sample.what);
    }
    const json = calls.at(-1) as Sample;
    assert.equal(check(json, { body: '{}' }), 'missing');
  });

  test('Twilio: an address that ends in the fields of a signed form says nothing about another body', () => {
    const url = 'https://mycompany.com/myapp.php?foo=1';
    const form: Sample = {
      scheme: 'twilio',
      what: 'a form',
      secret: '12345',
      headers: { 'content-type': FORM, 'x-twilio-signature': sign('sha1', '12345', `${url}Bodyhi`, 'base64') },
      body: 'Body=hi',
      url,
      signature: 'x-twilio-signature',
    };
    assert.equal(typeof check(form), 'object');
    const headers = { ...form.headers, 'content-type': 'application/json' };
    assert.equal(check(form, { headers, body: '{"Body":"forged"}', url: `${url}Bodyhi` }), 'missing');
  });

  test('a secret that leaves an empty key is none', () => {
    const sample = SAMPLES.find(({ scheme }) => scheme === 'standard') as Sample;
    const { 'webhook-id': id, 'webhook-timestamp': time } = sample.headers;
    const forged = `v1,${sign('sha256', '', `${id}.${time}.${sample.body}`, 'base64')}`;
    for (const secret of ['whsec_', 'whsec_====', 'whsec_!!!!']) {
      assert.equal(check(sample, { headers: { ...sample.headers, 'webhook-signature': forged } }, [secret]), 'wrong', secret);
    }
  });

  test('a header that is there twice is none', () => {
    const [github] = SAMPLES as [Sample];
    const twice = github.headers['x-hub-signature-256'] as string;
    const headers = { 'x-hub-signature-256': [twice, twice] } as unknown as Record<string, string>;
    assert.equal(check(github, { headers }), 'missing');
  });
});
