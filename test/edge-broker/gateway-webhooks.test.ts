import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { suite, test } from 'node:test';
import { Verdict } from '../../protocol/verdicts.ts';
import { payloadAad } from '../../runtime/acceptance/new-item.ts';
import { open } from '../../runtime/sealing/index.ts';
import { until } from '../support/wait.ts';
import { HookStage } from './hook-stage.ts';

const SECRET = 'a secret that nobody guesses';
const JSON_TYPE = { 'content-type': 'application/json' };
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded' };
const PUSH = JSON.stringify({ ref: 'refs/heads/main', repository: { full_name: 'acme/shop' } });
const hmac = (secret: string, text: string, digest = 'sha256', encoding: 'hex' | 'base64' = 'hex'): string =>
  createHmac(digest, secret).update(text).digest(encoding);
const github = (body: string, secret = SECRET, event = 'push'): Record<string, string> => ({
  ...JSON_TYPE,
  'x-github-event': event,
  'x-github-delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
  'x-hub-signature-256': `sha256=${hmac(secret, body)}`,
});
const stripe = (body: string, at = Date.now(), secret = SECRET): Record<string, string> => {
  const time = Math.floor(at / 1000);
  return { ...JSON_TYPE, 'stripe-signature': `t=${time},v1=${hmac(secret, `${time}.${body}`)}` };
};

suite('webhooks that are kept', () => {
  test('GitHub: a delivery is committed, mapped and answered 202; the same one again is the same invocation', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('push', { scheme: 'github', args: { repo: '$.repository.full_name', event: 'header.x-github-event' } }, [SECRET]);
    const first = await hooks.deliver(hooks.url('push'), PUSH, github(PUSH));
    assert.equal(first.status, 202);
    assert.deepEqual([first.body.state, first.body.existing], ['queued', false]);
    assert.equal(first.headers.get('x-triggerfs-invocation'), first.body.id);
    // The delivery id is not signed, so another one changes nothing.
    const again = await hooks.deliver(hooks.url('PUSH'), PUSH, { ...github(PUSH), 'x-github-delivery': 'another' });
    assert.deepEqual([again.status, again.body.id, again.body.existing], [202, first.body.id, true]);
    const [item, ...others] = await hooks.queued();
    assert.deepEqual(others, []);
    assert.deepEqual(item, {
      id: first.body.id,
      source: 'webhook',
      caller: 'push',
      service: 'svc',
      plugin: 'echo',
      args: { repo: 'acme/shop', event: 'push' },
    });
    const { rows } = await hooks.stage.world.sql.query('select payload, team_id from triggerfs.queue_items');
    const payload = await open(hooks.keys, rows[0].team_id, payloadAad(rows[0].team_id, item?.id ?? ''), rows[0].payload);
    assert.equal(payload.toString(), PUSH);
    assert.equal(rows[0].payload.includes('acme/shop'), false, 'sealed');
  });

  test('GitHub: its ping is answered and runs nothing', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('push', { scheme: 'github', args: { repo: '$.repository.full_name' } }, [SECRET]);
    const ping = JSON.stringify({ zen: 'Keep it logically awesome.', hook_id: 1 });
    const answer = await hooks.deliver(hooks.url('push'), ping, github(ping, SECRET, 'ping'));
    assert.deepEqual([answer.status, answer.body], [200, { pong: true }]);
    assert.equal((await hooks.deliver(hooks.url('push'), ping, github(ping, 'wrong', 'ping'))).status, 401);
    assert.deepEqual(await hooks.queued(), []);
  });

  test('Slack: its challenge is answered', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('slack', { scheme: 'slack' }, [SECRET]);
    const body = JSON.stringify({ type: 'url_verification', challenge: '3eZbrw1aB10FEMAGAZd4FyFQ' });
    const time = String(Math.floor(Date.now() / 1000));
    const headers = { ...JSON_TYPE, 'x-slack-request-timestamp': time, 'x-slack-signature': `v0=${hmac(SECRET, `v0:${time}:${body}`)}` };
    assert.deepEqual((await hooks.deliver(hooks.url('slack'), body, headers)).body, { challenge: '3eZbrw1aB10FEMAGAZd4FyFQ' });
    assert.equal((await hooks.deliver(hooks.url('slack'), body, { ...headers, 'x-slack-signature': 'v0=00' })).status, 401);
  });

  test('Stripe: an event is accepted, a retry with a new signature is the same one, an old one is refused', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('pay', { scheme: 'stripe', args: { type: '$.type' } }, [SECRET]);
    const event = JSON.stringify({ id: 'evt_1', type: 'charge.succeeded' });
    const first = await hooks.deliver(hooks.url('pay'), event, stripe(event));
    const retried = await hooks.deliver(hooks.url('pay'), event, stripe(event, Date.now() - 30_000));
    assert.deepEqual([first.status, retried.status, retried.body.existing, retried.body.id], [202, 202, true, first.body.id]);
    const old = await hooks.deliver(hooks.url('pay'), event, stripe(event, Date.now() - 301_000));
    assert.deepEqual(
      [old.status, old.body.code, old.body.detail],
      [401, 'TFS_BAD_SIGNATURE', 'the signature is good, but its time is too far away'],
    );
    const tampered = event.replace('evt_1', 'evt_2');
    assert.equal((await hooks.deliver(hooks.url('pay'), tampered, stripe(event))).status, 401);
    const other = JSON.stringify({ id: 'evt_2', type: 'charge.failed' });
    assert.equal((await hooks.deliver(hooks.url('pay'), other, stripe(other))).status, 202);
    assert.deepEqual(
      (await hooks.queued()).map(({ args }) => args.type),
      ['charge.succeeded', 'charge.failed'],
    );
  });

  test('many at once that are the same are one', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('push', { scheme: 'github' }, [SECRET]);
    const answers = await Promise.all(Array.from({ length: 20 }, () => hooks.deliver(hooks.url('push'), PUSH, github(PUSH))));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [202]);
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
    assert.equal(answers.filter(({ body }) => body.existing === false).length, 1);
    assert.equal((await hooks.queued()).length, 1);
  });

  test('what the mapping misses is named, and the service decides about plugins', async (t) => {
    const hooks = await HookStage.create(t, { service: { plugins: ['echo'] } });
    await hooks.addHook('push', { scheme: 'github', args: { repo: '$.repository.full_name' } }, [SECRET]);
    await hooks.addHook('bad', { scheme: 'github', plugin: 'command/command' }, [SECRET]);
    await hooks.addHook('none', { scheme: 'github', plugin: null }, [SECRET]);
    const missing = await hooks.deliver(hooks.url('push'), '{"ref":"x"}', github('{"ref":"x"}'));
    assert.deepEqual([missing.status, missing.body.code], [400, 'TFS_BAD_ARGUMENT']);
    assert.match(String(missing.body.detail), /\$\.repository\.full_name/);
    assert.equal((await hooks.deliver(hooks.url('bad'), PUSH, github(PUSH))).body.code, 'TFS_PLUGIN_NOT_ALLOWED');
    assert.equal((await hooks.deliver(hooks.url('none'), PUSH, github(PUSH))).body.code, 'TFS_UNKNOWN_PLUGIN');
    assert.deepEqual(await hooks.queued(), []);
  });
});

suite('who may deliver', () => {
  test('what is missing, wrong, of another hook, or of another team looks the same', async (t) => {
    const hooks = await HookStage.create(t);
    const { world } = hooks.stage;
    await hooks.addHook('push', { scheme: 'github' }, [SECRET]);
    await hooks.addHook('other', { scheme: 'github' }, ['the secret of another hook']);
    await hooks.addHook('bare', { scheme: 'github' }, []);
    const other = await world.addTeam('beta');
    await until(() => hooks.stage.broker.directory.team(other.teamId), { what: 'the other team' });
    const { 'x-hub-signature-256': _none, ...unsigned } = github(PUSH);
    const cases: readonly (readonly [string, string, Record<string, string>])[] = [
      ['no signature', hooks.url('push'), unsigned],
      ['wrong secret', hooks.url('push'), github(PUSH, 'guess')],
      ['empty secret', hooks.url('bare'), github(PUSH, '')],
      ['tampered', hooks.url('push'), github(`${PUSH} `)],
      ['secret of another hook', hooks.url('push'), github(PUSH, 'the secret of another hook')],
      ['no such hook', hooks.url('nothing'), github(PUSH)],
      ['no such team', hooks.url('push', 'nobody'), github(PUSH)],
      ['another team', hooks.url('push', 'beta'), github(PUSH)],
      ['with a token instead', hooks.url('push'), { ...unsigned, authorization: `Bearer ${hooks.stage.token}` }],
    ];
    const seen = new Set<string>();
    for (const [what, url, headers] of cases) {
      const { status, body } = await hooks.deliver(url, PUSH, headers);
      assert.deepEqual([status, body.code], [401, 'TFS_BAD_SIGNATURE'], what);
      seen.add(JSON.stringify(body));
    }
    assert.equal(seen.size, 1);
    assert.equal(
      [...seen].some((text) => text.includes(SECRET)),
      false,
    );
    assert.deepEqual(await hooks.queued(), []);
  });

  test('two secrets are good while one replaces the other', async (t) => {
    const hooks = await HookStage.create(t);
    const id = await hooks.addHook('push', { scheme: 'github' }, ['new secret', 'old secret']);
    const status = async (secret: string, body: string): Promise<number> =>
      (await hooks.deliver(hooks.url('push'), body, github(body, secret))).status;
    assert.deepEqual([await status('new secret', '1'), await status('old secret', '2'), await status(SECRET, '3')], [202, 202, 401]);
    await hooks.stage.world.sql.query(
      "update triggerfs.hook_secrets set ends_at = now() + interval '300 ms' where hook_id = $1 and ends_at is not null",
      [id],
    );
    await until(async () => (await status('old secret', String(Math.random()))) === 401, { what: 'the old secret has ended' });
    assert.equal(await status('new secret', '5'), 202);
  });

  test('a hook that is deleted, or whose service is, takes nothing any more', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('push', { scheme: 'github' }, [SECRET]);
    assert.equal((await hooks.deliver(hooks.url('push'), '1', github('1'))).status, 202);
    await hooks.stage.world.sql.query("delete from triggerfs.services where name = 'svc'");
    await until(async () => (await hooks.deliver(hooks.url('push'), '2', github('2'))).status === 401, { what: 'the hook is gone' });
  });
});

suite('webhooks that are answered at once', () => {
  const TWIML = '<Response><Message>thank you</Message></Response>';
  const service = { http: { answer: 'raw' as const, contentType: 'text/xml' } };
  const twilio = (url: string, body: string): Record<string, string> => {
    const fields = [...new URLSearchParams(body)].sort().flat().join('');
    return { ...FORM_TYPE, 'x-twilio-signature': hmac(SECRET, url + fields, 'sha1', 'base64') };
  };

  test('Twilio: a message is answered with what the plugin prints, and only once', async (t) => {
    const hooks = await HookStage.create(t, {
      service,
      onTask: (task) => {
        task.started();
        task.output(TWIML);
        task.result();
      },
    });
    await hooks.addHook('sms', { scheme: 'twilio', mode: 'sync', payload: 'form.Body', args: { from: 'form.From' } }, [SECRET]);
    const url = hooks.url('sms');
    const body = 'MessageSid=SM1&From=%2B1800555&Body=h%C3%A9llo';
    const answer = await hooks.deliver(url, body, twilio(url, body));
    assert.deepEqual([answer.status, answer.body.text, answer.headers.get('content-type')], [200, TWIML, 'text/xml']);
    const [task] = hooks.stage.worker.tasks;
    assert.deepEqual([task?.payload.toString(), task?.plan.args, task?.plan.caller], ['héllo', { from: '+1800555' }, 'sms']);
    const again = await hooks.deliver(url, body, twilio(url, body));
    assert.deepEqual([again.status, again.body.code], [409, 'TFS_CONFLICT']);
    assert.equal((await hooks.deliver(url, body.replace('SM1', 'SM2'), twilio(url, body))).status, 401);
    assert.equal(hooks.stage.worker.tasks.length, 1);
  });

  test('Twilio: behind a proxy that is trusted the address is the proxy’s, elsewhere it is not', async (t) => {
    const outside = 'https://hooks.example.com/v1/hooks/alpha/sms?lang=en';
    const body = 'MessageSid=SM1&Body=x';
    const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'hooks.example.com', 'x-forwarded-for': '203.0.113.7' };
    for (const [settings, status] of [
      ['proxies = "127.0.0.1"', 200],
      ['', 401],
    ] as const) {
      const hooks = await HookStage.create(t, { settings });
      await hooks.addHook('sms', { scheme: 'twilio', mode: 'sync', payload: 'form.Body', args: { address: 'address' } }, [SECRET]);
      const answer = await hooks.deliver(`${hooks.url('sms')}?lang=en`, body, { ...twilio(outside, body), ...forwarded });
      assert.equal(answer.status, status, settings);
      if (status === 200) assert.deepEqual(hooks.stage.worker.tasks[0]?.plan.args, { address: '203.0.113.7' });
    }
  });

  test('what reached no worker may be sent again', async (t) => {
    const hooks = await HookStage.create(t, { service: { queueLimit: 0 }, concurrency: 1, onTask: (task) => task.started() });
    await hooks.addHook('sms', { scheme: 'twilio', mode: 'sync', payload: 'form.Body?' }, [SECRET]);
    const url = hooks.url('sms');
    const first = hooks.deliver(url, 'MessageSid=SM1', twilio(url, 'MessageSid=SM1'));
    const task = await until(() => hooks.stage.worker.tasks[0], { what: 'the first run' });
    const busy = await hooks.deliver(url, 'MessageSid=SM2', twilio(url, 'MessageSid=SM2'));
    assert.deepEqual([busy.status, busy.body.code], [503, 'TFS_BUSY']);
    task.result(Verdict.failed, 4);
    assert.equal((await first).status, 422);
    hooks.stage.worker.onTask = (each) => each.result();
    await until(async () => (await hooks.deliver(url, 'MessageSid=SM2', twilio(url, 'MessageSid=SM2'))).status === 200, {
      what: 'it is taken',
    });
    assert.equal((await hooks.deliver(url, 'MessageSid=SM1', twilio(url, 'MessageSid=SM1'))).status, 409, 'one that failed ran');
  });
});
