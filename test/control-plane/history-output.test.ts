import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';
import { HistoryWriter } from './history-fixture.ts';

const W1 = { id: 1, identity: 'w1' };
const W2 = { id: 2, identity: 'w2' };

/** Runs the garbage collector, so that only what is held counts. */
const collect = ((): (() => void) => {
  setFlagsFromString('--expose_gc');
  return runInNewContext('gc') as () => void;
})();

suite('output of the history', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let writer: HistoryWriter;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup);
    writer = await HistoryWriter.open(cleanup, api.databaseUrl);
    token = await api.tokenOf('member');
  });

  function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(new URL(`/v1/history/${path}`, api.controlPlane.url), { headers: { authorization: `Bearer ${token}`, ...headers } });
  }

  async function bytes(path: string, headers: Record<string, string> = {}): Promise<Buffer> {
    const response = await get(path, headers);
    assert.ok(response.ok, `${path}: ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  }

  async function mirrored(): Promise<string> {
    const id = await writer.invocation({ outputBytes: 20 });
    await writer.run(id, W1, { startedAt: new Date(Date.now() - 1000) });
    await writer.run(id, W2);
    await writer.block(id, 1, 0, [['one '], ['err ', true], ['two ']]);
    await writer.block(id, 2, 0, [['other ']]);
    await writer.block(id, 1, 1, [['three ']]);
    return id;
  }

  test('bytes of all runs, of one worker, of one stream', async () => {
    const id = await mirrored();
    const response = await get(`${id}/output`);
    assert.equal(await response.text(), 'one err two three other ');
    const { headers } = response;
    assert.equal(headers.get('content-type'), 'application/octet-stream');
    assert.equal(headers.get('content-length'), '24');
    assert.equal(headers.get('accept-ranges'), 'bytes');
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.equal(headers.get('x-triggerfs-state'), 'done');
    assert.equal(headers.get('content-disposition'), `attachment; filename="${id}.out"`);
    assert.equal(String(await bytes(`${id}/output?worker=W2`)), 'other ');
    assert.equal(String(await bytes(`${id}/output?stream=stderr`)), 'err ');
    assert.equal(String(await bytes(`${id}/output?stream=stdout&worker=w1`)), 'one two three ');
    const one = await get(`${id}/output?worker=w1&stream=stdout`);
    assert.equal(one.headers.get('content-disposition'), `attachment; filename="${id}-w1-stdout.out"`);
    await one.arrayBuffer();
    assert.equal((await get(`${id}/output?worker=w9`)).status, 404);
  });

  test('ranges, also of one stream, and those that nothing is in', async () => {
    const id = await mirrored();
    const range = async (wanted: string, query = '', more: Record<string, string> = {}): Promise<[number, string | null, string]> => {
      const response = await get(`${id}/output${query}`, { range: wanted, ...more });
      return [response.status, response.headers.get('content-range'), response.status === 416 ? '' : await response.text()];
    };
    assert.deepEqual(await range('bytes=4-7'), [206, 'bytes 4-7/24', 'err ']);
    assert.deepEqual(await range('bytes=-6'), [206, 'bytes 18-23/24', 'other ']);
    assert.deepEqual(await range('bytes=12-'), [206, 'bytes 12-23/24', 'three other ']);
    assert.deepEqual(await range('bytes=16-19'), [206, 'bytes 16-19/24', 'e ot']);
    assert.deepEqual(await range('bytes=4-', '?stream=stdout'), [206, 'bytes 4-19/20', 'two three other ']);
    assert.deepEqual(await range('bytes=24-'), [416, 'bytes */24', '']);
    assert.deepEqual(await range('bytes=1-0'), [200, null, 'one err two three other ']);
    const tag = (await get(`${id}/output`)).headers.get('etag') ?? '';
    assert.equal((await range('bytes=0-1', '', { 'if-range': tag }))[0], 206);
    assert.equal((await range('bytes=0-1', '', { 'if-range': '"other"' }))[0], 200, 'what has changed is sent whole');
    const refused = await get(`${id}/output`, { range: 'bytes=99-' });
    assert.equal(((await refused.json()) as { code: string }).code, 'TFS_RANGE');
    assert.match(refused.headers.get('content-type') ?? '', /problem\+json/);
  });

  test('escapes, NULs and bytes that are no text come back as they were, and JSON says what it cannot show', async () => {
    const id = await writer.invocation({ outputBytes: 1 });
    await writer.run(id, W1);
    const wild = Buffer.concat([Buffer.from('\u001b[31mred\u001b]0;title\u0007\u0000'), Buffer.from([0xff, 0xfe, 0xc3]), Buffer.from('ü')]);
    await writer.block(id, 1, 0, [[wild], ['plain ü\n', true]]);
    assert.deepEqual(await bytes(`${id}/output`), Buffer.concat([wild, Buffer.from('plain ü\n')]));
    const lines = String(await bytes(`${id}/output`, { accept: 'application/x-ndjson' }))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['invocation', 'output', 'output', 'verdict', 'done'],
    );
    const [, first, second] = lines;
    assert.deepEqual([first.stream, first.worker, first.encoding, first.data], ['stdout', 'w1', 'base64', wild.toString('base64')]);
    assert.deepEqual([second.stream, second.encoding, second.data, second.sequence], ['stderr', undefined, 'plain ü\n', 1]);
  });

  test('fifty megabytes, byte for byte, with bounded memory, to a slow reader too', { timeout: 60_000 }, async () => {
    const id = await writer.invocation({ outputBytes: 50_000_000 });
    await writer.run(id, W1);
    const part = randomBytes(1_000_003);
    const data = Buffer.concat(Array.from({ length: 50 }, () => part));
    await writer.output(id, 1, data);
    const digest = (buffer: Buffer): string => createHash('sha256').update(buffer).digest('hex');
    // `fetch` reads ahead without end.
    const headers = { authorization: `Bearer ${token}` };
    const url = new URL(`/v1/history/${id}/output`, api.controlPlane.url);
    const [response] = (await once(request(url, { headers }).end(), 'response')) as [IncomingMessage];
    assert.equal(response.headers['content-length'], String(data.length));
    const retained = async (): Promise<number> => {
      collect();
      // Buffers are given back by another thread.
      await sleep(20);
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const before = await retained();
    let peak = 0;
    const hash = createHash('sha256');
    let chunks = 0;
    for await (const chunk of response) {
      hash.update(chunk as Buffer);
      chunks += 1;
      if (chunks % 200 !== 1) continue;
      // The reader pauses, and what was sent meanwhile waits in the sockets or was not read at all.
      await sleep(chunks === 1 ? 300 : 5);
      peak = Math.max(peak, (await retained()) - before);
    }
    assert.equal(hash.digest('hex'), digest(data));
    assert.ok(peak < 16_000_000, `${Math.round(peak / 1e6)} MB above the beginning`);
    const tail = await bytes(`${id}/output`, { range: 'bytes=-1500000' });
    assert.equal(digest(tail), digest(data.subarray(-1_500_000)));
    const middle = await bytes(`${id}/output?stream=stdout`, { range: 'bytes=25000000-25099999' });
    assert.equal(digest(middle), digest(data.subarray(25_000_000, 25_100_000)));
  });

  test('what is not kept is said, with what to set', async () => {
    const team = await writer.team('a');
    await writer.sql(`insert into triggerfs.services (team_id, name, history) values ($1, 'quiet', 'meta')`, [team]);
    const id = await writer.invocation({ service: 'quiet', outputBytes: 7 });
    await writer.run(id, W1);
    for (const accept of ['*/*', 'text/event-stream', 'application/x-ndjson']) {
      const response = await get(`${id}/output`, { accept });
      const body = (await response.json()) as { code: string; detail: string };
      assert.deepEqual([response.status, body.code], [409, 'TFS_NOT_KEPT'], accept);
      assert.match(body.detail, /as the history of quiet is meta; "set services quiet history output"/);
    }
    const running = await writer.invocation({ service: 'quiet', verdict: null });
    assert.equal((await get(`${running}/output`, { accept: 'text/event-stream' })).status, 409);
    const silent = await writer.invocation({ service: 'quiet', outputBytes: 0 });
    assert.equal((await bytes(`${silent}/output`)).length, 0, 'it wrote nothing');
  });

  test('rows that were exchanged or changed are not shown', async () => {
    const [id, other] = [await mirrored(), await mirrored()];
    await writer.sql(
      `update triggerfs.outputs o set data = s.data from triggerfs.outputs s
       where o.invocation_id = $1 and s.invocation_id = $2 and o.worker_id = 1 and s.worker_id = 1 and o.block = 0 and s.block = 0`,
      [id, other],
    );
    await assert.rejects(bytes(`${id}/output`));
    assert.equal(String(await bytes(`${other}/output`)), 'one err two three other ');
  });

  test('a dump shows neither input nor output', async () => {
    const id = await writer.invocation({ payload: Buffer.from('top secret input'), outputBytes: 1 });
    await writer.run(id, W1);
    await writer.block(id, 1, 0, [['top secret output '.repeat(100)]]);
    const rows = await writer.sql<{ data: Buffer }>(
      `select data from triggerfs.outputs where invocation_id = $1 union all select payload from triggerfs.invocations where id = $1`,
      [id],
    );
    assert.equal(rows.length, 2);
    for (const { data } of rows) assert.equal(data.includes('secret'), false);
  });

  test('a gap is told', async () => {
    const id = await writer.invocation({ outputBytes: 2 });
    await writer.run(id, W1);
    await writer.block(id, 1, 0, [['a']]);
    await writer.block(id, 1, 1, [['b']], { gap: true });
    const response = await get(`${id}/output`);
    assert.deepEqual([response.headers.get('x-triggerfs-gaps'), await response.text()], ['1', 'ab']);
    const text = String(await bytes(`${id}/output`, { accept: 'application/x-ndjson' }));
    assert.deepEqual(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).event),
      ['invocation', 'output', 'gap', 'output', 'verdict', 'done'],
    );
  });
});
