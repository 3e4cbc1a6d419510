import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { environment } from '../../runtime/environment.ts';
import { type Rig, startRig } from './harness.ts';

let rig: Rig;
before(async () => {
  const plugins = {
    'exit/exit': '#!/bin/sh\nread -r code\nexit "$code"\n',
    'signal/signal': '#!/bin/sh\nread -r name\nkill -s "$name" $$\n',
    'cat/cat': '#!/bin/sh\nexec cat\n',
    'noenv/noenv': '#!/bin/sh\nexec env\n',
    'noshebang/noshebang': 'echo hi\n',
    'badinterp/badinterp': '#!/no/such/interpreter\n',
    'both/both': '#!/bin/sh\necho one\necho two >&2\necho three > /dev/stderr\necho four > /dev/stdout\ncat /dev/stdin\n',
    'where/where': '#!/bin/sh\npwd\ngrep NoNewPrivs /proc/self/status\n',
    'typed/plugin.json': JSON.stringify({
      name: 'typed',
      kind: 'exec',
      exec: ['sh', '-c', 'printf "%s|" "$TRIGGERFS_ARGS" "$TRIGGERFS_ARG_COUNT" "$TRIGGERFS_ARG_API_KEY" "$0" "$1"', 'zero', 'one'],
      args: {
        count: { type: 'integer', required: true },
        'api-key': { type: 'string', default: 'none', sensitive: true },
        mode: { type: 'string', enum: ['fast', 'slow'] },
        flag: { type: 'boolean' },
        level: { type: 'number' },
        word: { type: 'string', pattern: '^[a-z]+$' },
      },
    }),
    'missing/plugin.json': JSON.stringify({ name: 'missing', kind: 'exec', exec: ['no-such-program-here'] }),
    'stream/plugin.json': JSON.stringify({ name: 'stream', kind: 'stream', exec: 'run' }),
    'stream/run': '#!/bin/sh\n',
  };
  rig = await startRig({
    plugins,
    workers: ['environment = ["TFS_TEST_VISIBLE"]', 'concurrency = 300'],
    environment: { TFS_TEST_VISIBLE: 'yes', TFS_TEST_HIDDEN: 'no' },
  });
});
after(async () => {
  assert.deepEqual(rig.broker.violations, []);
  await rig.stop();
});

test('every exit code arrives as it is', async () => {
  const codes = Array.from({ length: 256 }, (_, code) => code);
  const runs = await Promise.all(codes.map((code) => rig.broker.run({ plugin: 'exit/exit', payload: `${code}\n` })));
  assert.deepEqual(
    runs.map(({ result }) => [result.verdict, result.exitCode, result.signal]),
    codes.map((code) => [code === 0 ? 'ok' : 'failed', code, 0]),
  );
});

test('death by a signal is failed, with the signal and 128 more as exit code', async () => {
  const signals: [string, number][] = [
    ['HUP', 1],
    ['INT', 2],
    ['QUIT', 3],
    ['ABRT', 6],
    ['KILL', 9],
    ['USR1', 10],
    ['SEGV', 11],
    ['PIPE', 13],
    ['ALRM', 14],
    ['TERM', 15],
  ];
  for (const [name, number] of signals) {
    const { result } = await rig.broker.run({ plugin: 'signal/signal', payload: `${name}\n` });
    assert.deepEqual([result.verdict, result.exitCode, result.signal], ['failed', 128 + number, number], name);
  }
});

test('bytes pass unchanged, from nothing to four mebibytes', async () => {
  const nasty = Buffer.from('\0\xff\xfe\x1b[31m\x1b]0;title\x07\r\n::set-env\n{"type":"result"}', 'latin1');
  for (const payload of [Buffer.alloc(0), nasty, randomBytes(65_536), randomBytes(65_537), randomBytes(4 * 1024 * 1024)]) {
    const { result, stdout } = await rig.broker.run({ plugin: 'cat/cat', payload });
    assert.equal(result.verdict, 'ok');
    assert.ok(stdout.equals(payload), `${payload.length} bytes`);
  }
});

test('a plugin that prints and ends at once loses nothing', async () => {
  const payload = randomBytes(3000);
  const runs = await Promise.all(Array.from({ length: 250 }, () => rig.broker.run({ plugin: 'cat/cat', payload })));
  const more = await Promise.all(Array.from({ length: 250 }, () => rig.broker.run({ plugin: 'cat/cat', payload })));
  for (const { result, stdout } of [...runs, ...more]) assert.ok(result.verdict === 'ok' && stdout.equals(payload));
});

test('standard streams can be opened by their names', async () => {
  const { stdout, stderr } = await rig.broker.run({ plugin: 'both/both', payload: 'input' });
  assert.equal(stdout.toString(), 'one\nfour\ninput');
  assert.equal(stderr.toString(), 'two\nthree\n');
});

test('plugins see an allow-listed environment and who asked', async () => {
  const { stdout, invocation } = await rig.broker.run({ plugin: 'noenv/noenv', args: { 'a-b': 'c d' } });
  const env = Object.fromEntries(
    stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
  assert.equal(env.TFS_TEST_VISIBLE, 'yes');
  assert.equal(env.TFS_TEST_HIDDEN, undefined);
  assert.equal(env.TRIGGERFS_ARG_A_B, 'c d');
  assert.equal(env.TRIGGERFS_ARGS, '{"a-b":"c d"}');
  assert.equal(env.TRIGGERFS_INVOCATION.replaceAll('-', ''), invocation.toString('hex'));
  assert.deepEqual(
    [env.TRIGGERFS_SERVICE, env.TRIGGERFS_CALLER, env.TRIGGERFS_TEAM, env.TRIGGERFS_PLUGIN, env.TRIGGERFS_WORKER, env.TRIGGERFS_ATTEMPT],
    ['demo', 'hp', 'team1', 'noenv/noenv', 'demo01', '0'],
  );
});

test('plugins start at home and cannot gain privileges', async () => {
  const { stdout } = await rig.broker.run({ plugin: 'where/where' });
  assert.equal(stdout.toString(), `${environment().home}\nNoNewPrivs:\t1\n`);
});

test('arguments get their types and defaults', async () => {
  const { stdout } = await rig.broker.run({ plugin: 'typed', args: { count: '3', flag: 'true', level: '1.5', mode: 'slow', word: 'abc' } });
  const [args, count, key, zero, one] = stdout.toString().split('|');
  assert.deepEqual(JSON.parse(args as string), { count: 3, 'api-key': 'none', mode: 'slow', flag: true, level: 1.5, word: 'abc' });
  assert.deepEqual([count, key, zero, one], ['3', 'none', 'zero', 'one']);
});

test('arguments that break the schema are denied with their name and without their value', async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{}, /argument count is missing: a whole number/],
    [{ count: 'x7Secret' }, /argument count: a whole number is expected/],
    [{ count: '1.5' }, /argument count: a whole number/],
    [{ count: '1', mode: 'x7Secret' }, /argument mode: one of fast, slow/],
    [{ count: '1', flag: 'x7Secret' }, /argument flag: true or false/],
    [{ count: '1', word: 'x7Secret' }, /argument word: a text matching/],
    [{ count: '1', other: 'x7Secret' }, /unknown argument other; known: count/],
    [{ count: '1', 'api-key': 'x7Secret\0' }, /argument api-key: a text without NUL/],
  ];
  for (const [args, expected] of cases) {
    const { result, started } = await rig.broker.run({ plugin: 'typed', args });
    assert.deepEqual([result.verdict, result.error, started], ['denied', 'TFS_BAD_ARGUMENT', 0]);
    assert.match(result.detail, expected);
    assert.doesNotMatch(result.detail, /x7Secret/);
  }
});

test('what cannot be started says why', async () => {
  const cases: [string, RegExp][] = [
    ['badinterp/badinterp', /interpreter \/no\/such\/interpreter .* does not exist/],
    ['missing', /no program no-such-program-here in the PATH/],
  ];
  for (const [plugin, expected] of cases) {
    const { result, started } = await rig.broker.run({ plugin });
    assert.deepEqual([result.verdict, result.error, started], ['failed', 'TFS_PLUGIN_FAILED', 0]);
    assert.match(result.detail, expected);
  }
});

test('a script without a first line is run by sh', async () => {
  const { result, stdout } = await rig.broker.run({ plugin: 'noshebang/noshebang' });
  assert.deepEqual([result.verdict, stdout.toString()], ['ok', 'hi\n']);
});

test('an environment that is too long for the system is a clear failure', async () => {
  const { result } = await rig.broker.run({ plugin: 'cat/cat', args: { long: 'x'.repeat(200_000) } });
  assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_PLUGIN_FAILED']);
  assert.match(result.detail, /too long/);
});

test('names that are no plugins are unknown', async () => {
  for (const plugin of ['../../bin/sh', '/bin/sh', 'cat/../cat', 'cat', '', 'nothing', 'nothing/here', 'Cat/Cat', 'cat/cat/cat']) {
    const { result } = await rig.broker.run({ plugin });
    assert.deepEqual([result.verdict, result.error], ['denied', 'TFS_UNKNOWN_PLUGIN'], plugin);
  }
});

test('a stream plugin takes no requests, and is announced', async () => {
  const { result } = await rig.broker.run({ plugin: 'stream' });
  assert.deepEqual([result.verdict, result.error], ['denied', 'TFS_PLUGIN_NOT_ALLOWED']);
  const { plugins } = await rig.broker.announced();
  assert.ok(plugins.some(({ name, kind }) => name === 'stream' && kind === 'stream'));
});
