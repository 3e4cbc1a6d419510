import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redactor } from '../../edge-broker/history/redactor.ts';
import { BLOCK_HEAD_BYTES, readBlock, writeBlockHead, writeFrame } from '../../protocol/history-block.ts';

const WORD = 'p4ss/wörd "x"+?';
const TOKEN = `tfs_${'Ab0-_'.repeat(9)}`.slice(0, 47);
const JWT = `${Buffer.from('{"alg":"EdDSA","typ":"JWT"}').toString('base64url')}.${'payload0'.repeat(20)}.${'sig-'.repeat(20)}`;
const redactor = new Redactor([WORD, 'short']);

function masked(text: string): string {
  const bytes = Buffer.from(text);
  redactor.mask(bytes);
  assert.equal(bytes.length, Buffer.byteLength(text), 'places stay what they were');
  return bytes.toString();
}

test('words are blackened as they are, URL-encoded and inside JSON', () => {
  for (const form of [WORD, encodeURIComponent(WORD), encodeURIComponent(WORD).toLowerCase(), JSON.stringify(WORD).slice(1, -1)]) {
    if (form === encodeURIComponent(WORD).toLowerCase() && !/%/.test(form)) continue;
    assert.equal(
      masked(`before ${form} after ${form}`),
      `before ${'*'.repeat(Buffer.byteLength(form))} after ${'*'.repeat(Buffer.byteLength(form))}`,
    );
  }
  assert.equal(masked('short words would hit too much'), 'short words would hit too much');
});

test('words are blackened inside base64, wherever they stand in it', () => {
  for (const before of ['', 'a', 'ab', 'abc', 'user:']) {
    for (const encoding of ['base64', 'base64url'] as const) {
      const encoded = Buffer.from(`${before}${WORD}tail`).toString(encoding);
      const plain = Buffer.from(masked(`x=${encoded}`).slice(2).replaceAll('*', 'A'), 'base64').toString('latin1');
      assert.ok(!plain.includes(Buffer.from(WORD).toString('latin1').slice(3, -3)), `${encoding} after ${JSON.stringify(before)}`);
    }
  }
});

test('tokens are known by their form', () => {
  assert.equal(masked(`Authorization: Bearer ${TOKEN}\n`), `Authorization: Bearer ${'*'.repeat(47)}\n`);
  assert.equal(masked(`{"token":"${JWT}"}`), `{"token":"${'*'.repeat(JWT.length)}"}`);
  assert.equal(masked('tfs_short and eyJhbGciOi are none'), 'tfs_short and eyJhbGciOi are none');
  for (const secret of [TOKEN, JWT]) {
    for (const before of ['', ':', 'u:', 'token=']) {
      const encoded = Buffer.from(`${before}${secret}\n`).toString('base64');
      const plain = Buffer.from(masked(`${encoded} rest`).replaceAll('*', 'A').split(' ')[0] as string, 'base64').toString('latin1');
      assert.ok(!plain.includes(secret.slice(6, -6)), before);
      assert.ok(masked(`${encoded} rest`).endsWith(' rest'));
    }
  }
});

test('a secret that is spread over pieces of one stream is found, the other stream in between is left alone', () => {
  const pieces: [stderr: boolean, text: string][] = [
    [false, `one ${TOKEN.slice(0, 10)}`],
    [true, 'between'],
    [false, TOKEN.slice(10, 30)],
    [false, `${TOKEN.slice(30)} two`],
  ];
  const block = Buffer.alloc(1000);
  let at = writeBlockHead(block);
  assert.equal(at, BLOCK_HEAD_BYTES);
  pieces.forEach(([stderr, text], sequence) => {
    const data = Buffer.from(text);
    at = writeFrame(block, at, { stderr, sequence, offsetMs: 0 }, data, 0, data.length);
  });
  redactor.block(block.subarray(0, at));
  assert.deepEqual(
    [...readBlock(block.subarray(0, at))].map(({ data }) => data.toString()),
    [`one ${'*'.repeat(10)}`, 'between', '*'.repeat(20), `${'*'.repeat(17)} two`],
  );
});

test('text made of beginnings costs no more than other text', () => {
  const hostile = [
    TOKEN.slice(0, 4),
    'eyJhbGciOi',
    ...[0, 1, 2].map((n) =>
      Buffer.from(`${'x'.repeat(n)}tfs_`)
        .toString('base64')
        .slice(0, 5),
    ),
  ];
  const started = performance.now();
  for (const beginning of hostile) {
    for (const filler of ['', '.', ' ']) {
      const bytes = Buffer.alloc(64 * 1024, `${beginning}${filler}`);
      redactor.mask(bytes);
    }
  }
  assert.ok(performance.now() - started < 3_000, `${performance.now() - started} ms`);
});
