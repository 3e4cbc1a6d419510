import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { LIMITS } from '../../protocol/limits.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import { echo, type FakeResult } from './fake-broker.ts';
import { Stage } from './program.ts';
import { fakeLogin } from './support.ts';

const CALL = ['-service', 'demo', '-plugin', 'command/command', '-timeout', '5s'];

/** The screen with what differs between two runs replaced. */
function golden(screen: string): string {
  return screen.replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /m, '<time> ').replace(/^Time ran: .+$/m, 'Time ran: <duration>');
}

async function cacheFiles(stage: Stage): Promise<string[]> {
  const folder = join(stage.folder, '.cache', 'triggerfs');
  return (await readdir(folder)).filter((name) => name.startsWith('login-')).map((name) => join(folder, name));
}

test('the documented screen', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call, payload }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, ` 21:14:07 up  8:26, ${payload}`);
    peer.output(call, 1, 1, 'load average: 0.61\n');
    peer.result(call);
  };
  const ended = await stage.run([...CALL, '-command', 'uptime '], {});
  assert.equal(
    golden(ended.stdout),
    `<time> Sending message to service demo (roundrobin)
[command/command@demo01]  21:14:07 up  8:26, uptime load average: 0.61
Exit code: 0
Total messages: 1
Time ran: <duration>
`,
  );
  assert.match(ended.stdout, /^Time ran: \d+(\.\d+)?(ms|s)$/m);
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
});

test('standard input is the message, byte for byte', async (t) => {
  const stage = await Stage.set(t);
  const input = Buffer.from([0, 255, 10, 13, 10, 0x1b]);
  assert.equal((await stage.run(CALL, { input })).code, 0);
  assert.equal((await stage.run(CALL, { input: 'echo hi\n' })).code, 0);
  assert.equal((await stage.run([...CALL, '-command', ''], { input: 'not read' })).code, 0);
  assert.deepEqual(
    stage.broker.requests.map(({ payload }) => payload),
    [input, Buffer.from('echo hi\n'), Buffer.alloc(0)],
  );
  assert.equal(stage.broker.requests[0]?.timeoutMs, 5000);
});

test('standard error goes to standard error; lines without an end are ended; only lines are counted', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, 'one\ntwo');
    peer.output(call, 1, 1, 'oops', true);
    peer.output(call, 1, 2, ' two\n\n');
    peer.result(call, { verdict: Verdict.failed, exitCode: 3 });
  };
  const ended = await stage.run([...CALL, '-command', 'x']);
  assert.equal(ended.code, 3);
  assert.equal(ended.stderr, '[command/command@demo01] oops\n');
  assert.equal(
    golden(ended.stdout),
    `<time> Sending message to service demo (roundrobin)
[command/command@demo01] one
[command/command@demo01] two two
[command/command@demo01] 
Exit code: 3
Total messages: 4
Time ran: <duration>
`,
  );
});

test('several workers: a line for each verdict, and the largest exit code', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1, 2, 3], { algorithm: 1 });
    peer.output(call, 1, 0, 'a\n');
    peer.result(call, { worker: 1, last: false });
    peer.output(call, 2, 0, 'b\n');
    peer.result(call, { worker: 2, verdict: Verdict.failed, exitCode: 9, last: false });
    peer.result(call, { worker: 3, verdict: Verdict.cancelled, error: 'TFS_CANCELLED', detail: 'not run: stopped after 1 error(s)' });
  };
  const ended = await stage.run([...CALL, '-command', 'x']);
  assert.equal(ended.code, 9);
  assert.equal(
    golden(ended.stdout),
    `<time> Sending message to service demo (serial)
[command/command@demo01] a
demo01: ok, exit code 0, 1.234ms
[command/command@demo02] b
demo02: failed, exit code 9, 1.234ms
demo03: cancelled: not run: stopped after 1 error(s)
Exit code: 9
Total messages: 2
Time ran: <duration>
`,
  );
});

test('-raw passes bytes through and prints nothing else', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, '\x1b[31mred\n\x00');
    peer.output(call, 1, 1, 'err', true);
    peer.result(call);
  };
  const ended = await stage.run([...CALL, '-raw', '-command', 'x']);
  assert.deepEqual([ended.stdout, ended.stderr, ended.code], ['\x1b[31mred\n\x00', 'err', 0]);
});

test('-json prints one object per line', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, 'grüße\n');
    peer.output(call, 1, 1, Buffer.from([0xff]), true);
    peer.result(call, { verdict: Verdict.failed, exitCode: 139, signal: 11 });
  };
  const ended = await stage.run([...CALL, '-json', '-command', 'x']);
  const lines = ended.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(lines.length, 5);
  const [manifest, first, second, verdict, done] = lines as [Record<string, unknown>, ...Record<string, unknown>[]];
  assert.equal(typeof manifest.invocation, 'string');
  assert.deepEqual(
    { ...manifest, invocation: '' },
    {
      event: 'manifest',
      invocation: '',
      service: 'demo',
      plugin: 'command/command',
      algorithm: 'roundrobin',
      attempt: 0,
      expected: 1,
      workers: ['demo01'],
    },
  );
  assert.deepEqual(first, { event: 'output', worker: 'demo01', stream: 'stdout', sequence: 0, data: 'grüße\n' });
  assert.deepEqual(second, { event: 'output', worker: 'demo01', stream: 'stderr', sequence: 1, encoding: 'base64', data: '/w==' });
  assert.deepEqual(verdict, {
    event: 'verdict',
    worker: 'demo01',
    verdict: 'failed',
    exitCode: 139,
    signal: 11,
    attempt: 0,
    durationMs: 1.234,
    error: null,
    detail: '',
  });
  assert.equal(done?.event, 'done');
  assert.equal(done?.exitCode, 139);
  assert.equal(ended.code, 139);
});

test('verdicts become exit codes and one line with a hint', async (t) => {
  const stage = await Stage.set(t);
  const cases: [FakeResult, number, RegExp][] = [
    [{ verdict: Verdict.failed, exitCode: 255 }, 255, /^$/],
    [
      { verdict: Verdict.failed, error: 'TFS_PLUGIN_FAILED', detail: 'no such interpreter' },
      70,
      /no such interpreter \(TFS_PLUGIN_FAILED\)\. /,
    ],
    [{ verdict: Verdict.timeout }, 124, /no end within 5s \(TFS_TIMEOUT\)\. .*raise the timeout/],
    [{ verdict: Verdict.noWorker, worker: 0, detail: 'no worker of service demo is online' }, 69, /no worker of service demo is online/],
    [{ verdict: Verdict.busy, worker: 0 }, 75, /TFS_BUSY/],
    [{ verdict: Verdict.denied, worker: 0 }, 77, /TFS_FORBIDDEN/],
  ];
  for (const [result, code, line] of cases) {
    stage.broker.onRequest = ({ peer, call }) => peer.result(call, result);
    const ended = await stage.run([...CALL, '-command', 'x']);
    assert.equal(ended.code, code, JSON.stringify(result));
    assert.match(ended.stderr, line);
    assert.ok(ended.stderr.split('\n').length <= 2, 'one line');
    assert.equal(ended.stdout, '');
  }
});

test('wrong command lines end with one sentence and the exit code of usage', async (t) => {
  const stage = await Stage.set(t);
  const cases: [string[], number, RegExp][] = [
    [['-plugin', 'echo', '-command', 'x'], 64, /^triggerfs-client: no -service is given \(TFS_USAGE\)\nSee .*-help\.\n$/],
    [[...CALL, '-command', 'x', '-timeout', 'soon'], 64, /-timeout soon .*\(TFS_BAD_TIMEOUT\)/],
    [[...CALL, '-command'], 64, /-command needs a value/],
  ];
  for (const [args, code, line] of cases) {
    const ended = await stage.run(args);
    assert.match(ended.stderr, line);
    assert.equal(ended.code, code, ended.stderr);
  }
  assert.equal(stage.broker.requests.length, 0);
  const oversized = await stage.run(CALL, { input: Buffer.alloc(LIMITS.payloadBytes + 1) });
  assert.equal(oversized.code, 65);
  assert.match(oversized.stderr, /TFS_TOO_LARGE/);
});

test('arguments reach the plugin as they were given', async (t) => {
  const stage = await Stage.set(t);
  await stage.run([...CALL, '-command', 'x', '-args', 'recipient=0123', '-args=url=http://a/?b=c', '--args', 'empty=']);
  assert.deepEqual(stage.broker.requests[0]?.route.args, { recipient: '0123', url: 'http://a/?b=c', empty: '' });
});

test('service, plugin and timeout come from the configuration when they are not given', async (t) => {
  const stage = await Stage.set(t);
  await stage.configure('[triggerfs-client]\nservice = "twilio/api"\nplugin = "sms"\ntimeout = "7s"\n');
  assert.equal((await stage.run(['-command', 'x'])).code, 0);
  const [request] = stage.broker.requests;
  assert.deepEqual([request?.route.service, request?.route.plugin, request?.timeoutMs], ['twilio/api', 'sms', 7000]);
});

test('without a timeout of its own a request has that of its service', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => peer.result(call, { verdict: Verdict.timeout });
  const call = ['-service', 'demo', '-plugin', 'command/command', '-command', ''];
  const { code, stderr } = await stage.run(call);
  assert.equal(code, 124);
  assert.match(stderr, /^triggerfs-client: no end within the service's time limit \(TFS_TIMEOUT\)/);
  await stage.configure('\n[triggerfs-client]\ntimeout = "2s"\n');
  assert.match((await stage.run(call)).stderr, /no end within 2s/);
  await stage.run([...call, '-timeout', '7s']);
  assert.deepEqual(
    stage.broker.requests.map(({ timeoutMs }) => timeoutMs),
    [0, 2_000, 7_000],
  );
});

test('errors of the login and of the configuration', async (t) => {
  const stage = await Stage.set(t);
  stage.api.login = () => ({ status: 401, code: 'TFS_BAD_CREDENTIALS', detail: 'wrong team, identity or secret' });
  const refused = await stage.run([...CALL, '-command', 'x']);
  assert.equal(refused.code, 77);
  assert.match(refused.stderr, /wrong team, identity or secret \(TFS_BAD_CREDENTIALS\)/);
  const json = await stage.run([...CALL, '-json', '-command', 'x']);
  assert.equal((JSON.parse(json.stdout) as { error: string }).error, 'TFS_BAD_CREDENTIALS');
  await stage.api.stop();
  const down = await stage.run([...CALL, '-command', 'x']);
  assert.equal(down.code, 69);
  assert.match(down.stderr, /does not answer.*\(TFS_UNAVAILABLE\)/);
  await writeFile(stage.config, '[main]\nteam = "demo"\n');
  const nobody = await stage.run([...CALL, '-command', 'x']);
  assert.equal(nobody.code, 78);
  assert.match(nobody.stderr, /no identity to log in with: .*triggerfs\.toml has none in \[main\]/);
});

test('no broker: exit code 69 within seconds', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.kill();
  const ended = await stage.run(['-service', 'demo', '-plugin', 'echo', '-timeout', '300ms', '-command', 'x']);
  assert.equal(ended.code, 69);
  assert.match(ended.stderr, /\(TFS_NO_BROKER\)/);
});

test('the login is kept for later calls, in a file that only its owner can read', async (t) => {
  const stage = await Stage.set(t);
  for (let i = 0; i < 3; i += 1) assert.equal((await stage.run([...CALL, '-command', 'x'])).code, 0);
  assert.deepEqual(stage.api.requests, ['POST /v1/login']);
  const [file] = (await cacheFiles(stage)) as [string];
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await stat(join(stage.folder, '.cache', 'triggerfs'))).mode & 0o777, 0o700);
  assert.ok(!(await readFile(file, 'utf8')).includes('wonderland'), 'the secret is not kept');
  await stage.run([...CALL, '-command', 'x', '-identity', 'other']);
  assert.equal((await cacheFiles(stage)).length, 2);
  assert.equal(stage.api.requests.length, 2);
});

test('a kept login that is damaged, or made with another configuration, is replaced', async (t) => {
  const stage = await Stage.set(t);
  const call = async (): Promise<number> => {
    const before = stage.api.requests.length;
    const ended = await stage.run([...CALL, '-command', 'x']);
    assert.equal(ended.code, 0, ended.stderr);
    return stage.api.requests.length - before;
  };
  assert.equal(await call(), 1);
  const [file] = (await cacheFiles(stage)) as [string];
  await writeFile(file, '{');
  assert.deepEqual([await call(), await call()], [1, 0]);
  await stage.configure('\n');
  assert.deepEqual([await call(), await call()], [1, 0], 'another configuration');
  await stage.configure('[triggerfs-client]\ncache = false\n');
  assert.deepEqual([await call(), await call()], [1, 1], 'no cache is wanted');
});

test('a kept login that the brokers refuse is replaced', async (t) => {
  const stage = await Stage.set(t);
  await stage.run([...CALL, '-command', 'x']);
  const stale = (await cacheFiles(stage))[0] as string;
  const fresh = { ...fakeLogin([stage.broker.address]), edgeToken: 'fresh-token' };
  stage.api.login = () => fresh;
  stage.broker.onHello = (peer, hello) => {
    if (hello.token === 'fresh-token') return true;
    peer.refuse({ code: 'TFS_REVOKED', message: 'the session was revoked', hello: false });
    return false;
  };
  const ended = await stage.run([...CALL, '-command', 'x']);
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok((await readFile(stale, 'utf8')).includes('fresh-token'));
  stage.broker.onHello = (peer) => {
    peer.refuse({ code: 'TFS_FORBIDDEN', message: 'users may not do this', hello: false });
    return false;
  };
  const refused = await stage.run([...CALL, '-command', 'x']);
  assert.equal(refused.code, 77);
  assert.match(refused.stderr, /users may not do this \(TFS_FORBIDDEN\)/);
});

test('a kept login that names brokers of the past is replaced', async (t) => {
  const stage = await Stage.set(t);
  await stage.run([...CALL, '-command', 'x']);
  const [file] = (await cacheFiles(stage)) as [string];
  const kept = JSON.parse(await readFile(file, 'utf8')) as { login: ReturnType<typeof fakeLogin> };
  for (const change of [{ publicKey: '9'.repeat(40) }, { endpoint: 'tcp://127.0.0.1:1' }]) {
    const brokers = kept.login.brokers.map((broker) => ({ ...broker, ...change }));
    await writeFile(file, JSON.stringify({ ...kept, login: { ...kept.login, brokers } }), { mode: 0o600 });
    const ended = await stage.run([...CALL, '-command', 'x']);
    assert.equal(ended.code, 0, `${JSON.stringify(change)}: ${ended.stderr}`);
  }
});

test('without a home there is no cache and no harm', async (t) => {
  const stage = await Stage.set(t);
  for (const home of ['', '/dev/null', join(stage.folder, 'triggerfs.toml')]) {
    assert.equal((await stage.run([...CALL, '-command', 'x'], { env: { HOME: home } })).code, 0, home);
  }
});

test('output appears while the plugin runs, also a line without an end', async (t) => {
  const stage = await Stage.set(t);
  let finish = (): void => {};
  stage.broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, 'first line\nPassword: ');
    finish = () => {
      peer.output(call, 1, 1, 'accepted\n');
      peer.result(call);
    };
  };
  const { printed, ended } = stage.start([...CALL, '-command', 'x']);
  await until(() => printed.stdout.endsWith('[command/command@demo01] Password: '), { what: 'the question' });
  finish();
  assert.match((await ended).stdout, /\] first line\n\[command\/command@demo01\] Password: accepted\nExit code: 0\nTotal messages: 2\n/);
});

test('Ctrl-C cancels and shows the verdict; the second one ends at once', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => peer.manifest(call, [1]);
  stage.broker.onCancel = (peer, call) => peer.result(call, { verdict: Verdict.cancelled, error: 'TFS_CANCELLED' });
  const polite = stage.start([...CALL, '-command', 'x']);
  await until(() => polite.printed.stdout !== '', { what: 'the first line' });
  polite.child.kill('SIGINT');
  const first = await polite.ended;
  assert.equal(first.code, 130);
  assert.match(first.stdout, /Exit code: 130\n/);
  stage.broker.onCancel = () => {};
  const stubborn = stage.start([...CALL, '-timeout', '60s', '-command', 'x']);
  await until(() => stubborn.printed.stdout !== '', { what: 'the first line' });
  stubborn.child.kill('SIGINT');
  await until(() => stage.broker.peers.size > 1 && [...stage.broker.peers.values()].at(-1)?.cancels.length === 1, { what: 'CANCEL' });
  const begun = performance.now();
  stubborn.child.kill('SIGINT');
  assert.equal((await stubborn.ended).code, 130);
  assert.ok(performance.now() - begun < 1000);
});

test('SIGTERM cancels too and ends with its own code', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = ({ peer, call }) => peer.manifest(call, [1]);
  stage.broker.onCancel = (peer, call) => peer.result(call, { verdict: Verdict.cancelled, error: 'TFS_CANCELLED' });
  const { child, printed, ended } = stage.start([...CALL, '-command', 'x']);
  await until(() => printed.stdout !== '', { what: 'the first line' });
  child.kill('SIGTERM');
  assert.equal((await ended).code, 143);
});

test('a signal before the request was made ends the program', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onHello = () => false;
  const { child, ended } = stage.start([...CALL, '-timeout', '60s', '-command', 'x']);
  await until(() => stage.broker.peers.size === 1, { what: 'HELLO' });
  child.kill('SIGINT');
  assert.deepEqual([(await ended).code, stage.broker.requests.length], [130, 0]);
});

test('a reader that has enough cancels the invocation and ends the program quietly', async (t) => {
  const stage = await Stage.set(t);
  let timer: NodeJS.Timeout | undefined;
  t.after(() => clearInterval(timer));
  stage.broker.onRequest = ({ peer, call }) => {
    let sequence = 0;
    peer.manifest(call, [1]);
    timer = setInterval(() => {
      peer.output(call, 1, sequence, 'y\n');
      sequence += 1;
    }, 5);
  };
  const { child, printed, ended } = stage.start([...CALL, '-timeout', '60s', '-command', 'yes']);
  await until(() => printed.stdout.includes('] y'), { what: 'output' });
  child.stdout?.destroy();
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [141, '']);
  const cancelled = (): boolean => [...stage.broker.peers.values()].some(({ bye, cancels }) => bye && cancels.length === 1);
  await until(cancelled, { what: 'CANCEL and BYE' });
});

test('-debug, -help and -version', async (t) => {
  const stage = await Stage.set(t);
  stage.broker.onRequest = echo;
  const debug = await stage.run([...CALL, '-debug', '-command', 'x']);
  assert.equal(debug.code, 0);
  assert.match((await stage.run(['-help'])).stdout, /usage: triggerfs-client .*\n\n {2}-service NAME/);
  assert.match((await stage.run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
});
