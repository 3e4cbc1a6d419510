import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { GatewayStage } from './gateway-stage.ts';

interface Answer {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

/** What a connection is told that sends bytes and then, perhaps, ends. */
async function raw(stage: GatewayStage, bytes: string | Buffer, end = false): Promise<Answer> {
  const { hostname, port } = new URL(stage.broker.gatewayUrl);
  const socket = connect(Number(port), hostname);
  let text = '';
  socket.setEncoding('latin1').on('data', (piece: string) => {
    text += piece;
  });
  socket.on('error', () => undefined);
  socket.write(bytes);
  if (end) socket.end();
  await once(socket, 'close');
  const { code, detail } = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4));
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), code, detail };
}

suite('requests that are not quite right', () => {
  test('what cannot be read is answered with the reason', async (t) => {
    const stage = await GatewayStage.create(t);
    const head = `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${stage.token}\r\n`;
    const cases: readonly (readonly [string, Promise<Answer>, string, RegExp])[] = [
      ['headers', raw(stage, `${head}x-big: ${'a'.repeat(20_000)}\r\n\r\n`), '413 TFS_TOO_LARGE', /^the headers have more than 16 KiB$/],
      ['TLS', raw(stage, Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])), '400 TFS_BAD_REQUEST', /without TLS: ask for http:/],
      ['cut', raw(stage, `${head}transfer-encoding: chunked\r\n\r\n5\r\nna`, true), '400 TFS_BAD_REQUEST', /ended in the middle/],
      ['chunk', raw(stage, `${head}transfer-encoding: chunked\r\n\r\nzz\r\n`), '400 TFS_BAD_REQUEST', /not a complete HTTP request/],
      [
        'two',
        raw(stage, `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
        '400 TFS_BAD_REQUEST',
        /not a complete/,
      ],
    ];
    for (const [name, answer, expected, detail] of cases) {
      const { status, code, detail: said } = await answer;
      assert.equal(`${status} ${code}`, expected, name);
      assert.match(said, detail, name);
    }
    assert.equal((await stage.ask()).status, 200);
  });

  test('bodies and addresses that were nearly right name what was meant', async (t) => {
    const stage = await GatewayStage.create(t);
    const post = async (
      headers: Record<string, string>,
      body: string | Buffer<ArrayBuffer>,
      url = stage.url(),
      method = 'POST',
    ): Promise<Answer> => {
      const answer = await fetch(url, { method, headers: { authorization: `Bearer ${stage.token}`, ...headers }, body });
      const { code, detail } = (await answer.json()) as Answer;
      return { status: answer.status, code, detail };
    };
    const json = { 'content-type': 'application/json' };
    const good = JSON.stringify({ plugin: 'echo' });
    const gateway = stage.broker.gatewayUrl;
    const cases: readonly (readonly [Promise<Answer>, number, RegExp])[] = [
      [post({ 'content-type': 'text/plain' }, good), 415, /^a body of "text\/plain" needs the plugin in the query \(\?plugin=NAME\/NAME\)/],
      [post({ 'content-type': ';;;' }, good), 415, /^the Content-Type of the request is none/],
      [post(json, gzipSync(good) as Buffer<ArrayBuffer>), 415, /compressed/],
      [post(json, ''), 400, /^the body is empty; it should be such as \{"plugin"/],
      [post(json, 'x'.repeat(7_000_000)), 413, /at most 4 MiB/],
      [post(json, good, `${gateway}//v1/invoke//alpha/svc`), 404, /; \/v1\/invoke\/alpha\/svc is$/],
      [post(json, good, `${gateway}/v1/invoke/alpha/svc/`), 404, /; \/v1\/invoke\/alpha\/svc is$/],
      [post(json, good, `${gateway}/v2/invoke`), 404, /openapi\.json/],
      [post(json, good, stage.url(), 'PROPFIND'), 405, /^PROPFIND is not for this address/],
    ];
    for (const [answer, status, detail] of cases) {
      const { status: got, detail: said } = await answer;
      assert.equal(got, status, said);
      assert.match(said, detail);
    }
    assert.equal(stage.worker.tasks.length, 0);
  });

  test('a preflight allows the headers that the mapping reads', async (t) => {
    const http = {
      plugin: 'echo',
      origins: ['https://a.example'],
      payload: 'header.X-Text?',
      args: { one: 'integer:header.x-one', two: 'const:header.x-two' },
    };
    const stage = await GatewayStage.create(t, { service: { http } });
    const headers = { origin: 'https://a.example', 'access-control-request-method': 'POST' };
    const answer = await fetch(stage.url(), { method: 'OPTIONS', headers });
    const allowed = (answer.headers.get('access-control-allow-headers') ?? '').split(', ').slice(-3);
    assert.deepEqual([answer.status, allowed], [204, ['prefer', 'x-text', 'x-one']]);
  });
});
