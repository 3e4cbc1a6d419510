import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { Verdict, type VerdictNumber, verdictName } from '../../protocol/verdicts.ts';
import type { FakeTask } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { GatewayStage } from './gateway-stage.ts';

const run = promisify(execFile);
const ANSWER_BYTES = 10 * 1024 * 1024;

suite('forms of a request', () => {
  test('a JSON body is answered with output, verdict and runs', async (t) => {
    const stage = await GatewayStage.create(t);
    const { status, headers, answer } = await stage.ask({
      payload: 'héllo',
      args: { path: '/tmp/x', lines: 3, follow: true },
      timeout: '2s',
    });
    assert.equal(status, 200);
    assert.equal(headers.get('x-triggerfs-invocation'), answer.invocation);
    assert.equal(headers.get('x-triggerfs-verdict'), 'ok');
    assert.equal(headers.get('x-triggerfs-exit-code'), '0');
    const { durationMs, invocation, ...rest } = answer;
    assert.match(invocation, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    assert.ok(durationMs > 0 && durationMs < 2000);
    const ended = { exitCode: 0, signal: 0, attempt: 0, durationMs: 0, error: null, detail: '' };
    assert.deepEqual(rest, {
      service: 'alpha/svc',
      plugin: 'echo',
      algorithm: 'roundrobin',
      verdict: 'ok',
      exitCode: 0,
      output: 'héllo',
      stderr: '',
      runs: [{ worker: 'worker1', verdict: 'ok', ...ended, stdout: 'héllo', stderr: '' }],
    });
    const [task] = stage.worker.tasks;
    assert.equal(task?.invocation, invocation);
    assert.equal(task?.timeoutMs, 2000);
    assert.deepEqual(task?.plan.args, { path: '/tmp/x', lines: '3', follow: 'true' });
    assert.equal(task?.plan.caller, 'alpha-owner');
  });

  test('a raw body is the payload, byte for byte and whatever its type', async (t) => {
    const stage = await GatewayStage.create(t);
    const bytes = Buffer.from([0, 255, 10, 128, 123]);
    for (const type of ['application/octet-stream', 'text/plain', 'application/x-www-form-urlencoded', 'application/json']) {
      const response = await stage.post({
        url: stage.url('alpha/svc', { plugin: 'echo', 'args.path': '/a b&c', timeout: '3s' }),
        headers: { 'content-type': type },
        body: bytes,
      });
      const answer = (await response.json()) as { outputBase64: string };
      assert.equal(response.status, 200, type);
      assert.equal(answer.outputBase64, bytes.toString('base64'));
    }
    assert.ok(stage.worker.tasks.every((task) => task.payload.equals(bytes) && task.timeoutMs === 3000));
    assert.deepEqual(stage.worker.tasks[0]?.plan.args, { path: '/a b&c' });
  });

  test('the payload may be called command, be base64, or be missing', async (t) => {
    const stage = await GatewayStage.create(t);
    assert.equal((await stage.ask({ payload: undefined, command: 'uptime' })).answer.output, 'uptime');
    assert.equal((await stage.ask({ payload: undefined, payloadBase64: Buffer.from('bytes').toString('base64') })).answer.output, 'bytes');
    assert.equal((await stage.ask({ payload: undefined })).answer.output, '');
    const empty = await stage.post({ url: stage.url('alpha/svc', { plugin: 'echo' }), body: '' });
    assert.equal(((await empty.json()) as { output: string }).output, '');
  });

  test('the largest payload fits in both forms', async (t) => {
    const stage = await GatewayStage.create(t, { onTask: (task) => task.result() });
    const payload = Buffer.alloc(4 * 1024 * 1024, 0xfe);
    const raw = await stage.post({ url: stage.url('alpha/svc', { plugin: 'echo' }), body: payload });
    assert.equal(raw.status, 200);
    assert.equal((await stage.ask({ payload: undefined, payloadBase64: payload.toString('base64') })).status, 200);
    assert.ok(stage.worker.tasks.every((task) => task.payload.equals(payload)));
  });

  test('curl: JSON, raw and live', async (t) => {
    const stage = await GatewayStage.create(t);
    const bearer = ['-sS', '-H', `Authorization: Bearer ${stage.token}`];
    const json = await run('curl', [...bearer, '--json', '{"plugin":"echo","command":"one"}', stage.url()]);
    assert.equal(JSON.parse(json.stdout).output, 'one');
    const raw = await run('curl', [...bearer, '--data-binary', 'two', stage.url('alpha/svc', { plugin: 'echo' })]);
    assert.equal(JSON.parse(raw.stdout).output, 'two');
    const live = await run('curl', [
      ...bearer,
      '-N',
      '-H',
      'Accept: application/x-ndjson',
      '-d',
      'three',
      stage.url('alpha/svc', { plugin: 'echo' }),
    ]);
    const events = live.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).event);
    assert.deepEqual(events, ['manifest', 'output', 'verdict', 'done']);
    const events2 = await run('curl', [
      ...bearer,
      '-N',
      '-H',
      'Accept: text/event-stream',
      '-d',
      'four',
      stage.url('alpha/svc', { plugin: 'echo' }),
    ]);
    assert.match(events2.stdout, /^id: \S+\nevent: manifest\ndata: \{.*\}\n\nevent: output\ndata: \{.*"data":"four"\}\n\n/);
  });
});

suite('answers', () => {
  const ENDINGS: readonly (readonly [VerdictNumber, number, ErrorCode | null, number, number])[] = [
    [Verdict.ok, 0, null, 200, 0],
    [Verdict.failed, 3, null, 422, 3],
    [Verdict.failed, 137, null, 422, 137],
    [Verdict.failed, 0, 'TFS_PLUGIN_FAILED', 502, 70],
    [Verdict.timeout, 0, 'TFS_TIMEOUT', 504, 124],
    [Verdict.cancelled, 0, 'TFS_CANCELLED', 499, 130],
    [Verdict.workerLost, 0, 'TFS_WORKER_LOST', 502, 69],
    [Verdict.busy, 0, 'TFS_BUSY', 503, 75],
    [Verdict.denied, 0, 'TFS_BAD_ARGUMENT', 400, 64],
    [Verdict.denied, 0, 'TFS_PLUGIN_NOT_ALLOWED', 403, 77],
    [Verdict.expired, 0, 'TFS_EXPIRED', 504, 75],
  ];

  test('every ending has its status, and carries what the plugin printed', async (t) => {
    let next: (task: FakeTask) => void = () => undefined;
    const stage = await GatewayStage.create(t, { onTask: (task) => next(task) });
    for (const [verdict, code, error, status, exitCode] of ENDINGS) {
      next = (task) => {
        task.started();
        task.output('out');
        task.output('err', true);
        task.result(verdict, code, error === null ? 0 : ERRORS[error].number, 'because');
      };
      const { status: got, headers, answer } = await stage.ask();
      const name = verdictName(verdict);
      assert.deepEqual([got, answer.verdict, answer.exitCode, answer.output, answer.stderr], [status, name, exitCode, 'out', 'err']);
      assert.equal(headers.get('x-triggerfs-verdict'), name);
      assert.equal(headers.get('x-triggerfs-exit-code'), String(exitCode));
      assert.equal(headers.get('retry-after'), status === 503 ? '1' : null);
      assert.match(headers.get('content-type') ?? '', error === null ? /^application\/json/ : /^application\/problem\+json/);
      if (error !== null) assert.deepEqual([answer.code, answer.status, answer.detail], [error, status, 'because']);
    }
  });

  test('all runs of a mirror service are in the answer, and the worst counts', async (t) => {
    const stage = await GatewayStage.create(t, {
      count: 3,
      service: { algorithm: 'mirror' },
      onTask: (task) => {
        const number = stage.workers.findIndex((worker) => worker.tasks.includes(task)) + 1;
        task.started();
        task.output(`from ${number}\n`);
        task.result(number === 2 ? Verdict.failed : Verdict.ok, number === 2 ? 9 : 0);
      },
    });
    const { status, answer } = await stage.ask();
    assert.deepEqual([status, answer.verdict, answer.exitCode, answer.algorithm], [422, 'failed', 9, 'mirror']);
    const runs = answer.runs.map(({ worker, exitCode, stdout }) => [worker, exitCode, stdout]).sort();
    assert.deepEqual(runs, [
      ['worker1', 0, 'from 1\n'],
      ['worker2', 9, 'from 2\n'],
      ['worker3', 0, 'from 3\n'],
    ]);
    assert.equal(answer.output.length, 'from 1\n'.length * 3);
  });

  test('a serial service that stops reports the failure, not what it left out', async (t) => {
    const stage = await GatewayStage.create(t, {
      count: 3,
      service: { algorithm: 'serial' },
      onTask: (task) => task.result(Verdict.failed, 4),
    });
    const { status, answer } = await stage.ask();
    assert.deepEqual([status, answer.verdict, answer.exitCode], [422, 'failed', 4]);
    assert.deepEqual(
      answer.runs.map((each) => each.verdict),
      ['failed', 'cancelled', 'cancelled'],
    );
  });

  test('output beyond the limit is dropped, and the run goes on', async (t) => {
    const chunk = Buffer.alloc(32 * 1024, 'x');
    let sent = 0;
    const stage = await GatewayStage.create(t, {
      onTask: (task) => {
        task.started();
        const pump = setInterval(() => {
          while (task.credit >= chunk.length && sent < ANSWER_BYTES + chunk.length * 10) {
            task.output(chunk);
            sent += chunk.length;
          }
          if (sent < ANSWER_BYTES + chunk.length * 10) return;
          clearInterval(pump);
          task.result();
        }, 1);
        t.after(() => clearInterval(pump));
      },
    });
    const { status, answer } = await stage.ask();
    assert.deepEqual([status, answer.truncated, answer.verdict], [200, true, 'ok']);
    assert.equal(answer.output.length, ANSWER_BYTES);
    assert.equal(answer.runs[0]?.stdout, answer.output);
  });

  test('a caller that leaves cancels the run', async (t) => {
    const stage = await GatewayStage.create(t, { onTask: (task) => task.started() });
    const abort = new AbortController();
    const asked = stage.post({ signal: abort.signal });
    const task = await until(() => stage.worker.tasks[0], { what: 'the task' });
    abort.abort();
    await assert.rejects(asked, { name: 'AbortError' });
    await until(() => task.cancelled, { what: 'the task is cancelled' });
    task.result(Verdict.cancelled);
  });

  test('a run that another worker began again answers with what that one printed', async (t) => {
    const stage = await GatewayStage.create(t, {
      count: 2,
      service: { failover: 'always' },
      onTask: (task, worker) => {
        task.started();
        task.output(`attempt ${task.attempt}`);
        if (task.attempt === 1) task.result();
        else setImmediate(() => void worker.stop());
      },
    });
    const { status, answer } = await stage.ask();
    assert.deepEqual([status, answer.output, answer.runs.length, answer.runs[0]?.attempt], [200, 'attempt 1', 1, 1]);
  });
});
