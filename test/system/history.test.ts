import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HistoryPage, StatisticsAnswer } from '../../protocol/http/history.ts';
import { suiteCleanup } from '../control-plane/fixture.ts';
import { Follower } from '../support/history-follower.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const BYTES = 50_000_000;

suite('history of a whole system', () => {
  const cleanup = suiteCleanup();
  let system: System;

  before(async () => {
    system = await System.start(cleanup, { mount: false });
  });

  /** Calls the demo service by HTTP and reads the answer to its end, in the background. */
  async function command(line: string): Promise<{ id: string; ended: Promise<void> }> {
    const response = await fetch(new URL('/v1/invoke/demo/demo', system.ready.gateway ?? ''), {
      method: 'POST',
      headers: { authorization: `Bearer ${system.login.edgeToken}`, 'content-type': 'application/json', accept: 'application/x-ndjson' },
      body: JSON.stringify({ plugin: 'command/command', command: line, timeout: '100s' }),
    });
    const ended = (async () => {
      for await (const _ of response.body as unknown as AsyncIterable<Uint8Array>);
    })();
    return { id: response.headers.get('x-triggerfs-invocation') ?? '', ended };
  }

  /** Follows an invocation to its end, and again after its last cursor whenever the answer is cut. */
  async function followed(id: string, atBytes: number, disturb: () => Promise<void>): Promise<{ data: Buffer; answers: number }> {
    const parts: Buffer[] = [];
    let last = '';
    let disturbed: Promise<void> | null = null;
    for (let answers = 1; ; answers += 1) {
      const reader = await Follower.open(system.ready.api, system.login.apiToken, `${id}/output`, { 'last-event-id': last }).catch(
        () => null,
      );
      if (reader === null) {
        await sleep(100);
        continue;
      }
      let seen = 0;
      await until(
        () => {
          for (; seen < reader.events.length; seen += 1) {
            const event = reader.events[seen];
            if (event?.event === 'output') parts.push(Buffer.from(event.data, event.encoding ?? 'utf8'));
          }
          if (disturbed === null && parts.reduce((sum, part) => sum + part.length, 0) > atBytes) disturbed = disturb();
          return reader.ended || reader.broken;
        },
        { timeoutMs: 90_000, what: 'the end of an answer' },
      );
      last = reader.lastId === '' ? last : reader.lastId;
      if (!reader.kinds.includes('done')) continue;
      await disturbed;
      return { data: Buffer.concat(parts), answers };
    }
  }

  const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

  test('50 MB of wild bytes, followed live over a kill -9 of the control-plane and downloaded: byte for byte', {
    timeout: 120_000,
  }, async () => {
    const file = join(system.folder, 'wild');
    const { id, ended } = await command(
      `printf '\\033[2J\\000'; sleep 0.5; head -c ${BYTES} /dev/urandom | tee ${file}; sleep 2; printf '\\377end'`,
    );
    const { data, answers } = await followed(id, 5_000_000, () => system.killPart('control-plane'));
    await ended;
    const expected = Buffer.concat([Buffer.from('\u001b[2J\u0000'), readFileSync(file), Buffer.from([0xff]), Buffer.from('end')]);
    assert.ok(answers > 1, 'the control-plane was killed in the middle');
    assert.equal(data.length, expected.length);
    assert.equal(digest(data), digest(expected));
    const headers = { authorization: `Bearer ${system.login.apiToken}` };
    const response = await fetch(new URL(`/v1/history/${id}/output`, system.ready.api), { headers });
    assert.equal(digest(Buffer.from(await response.arrayBuffer())), digest(expected));
    const range = await fetch(new URL(`/v1/history/${id}/output`, system.ready.api), {
      headers: { ...headers, range: 'bytes=1000000-1999999' },
    });
    assert.equal(digest(Buffer.from(await range.arrayBuffer())), digest(expected.subarray(1_000_000, 2_000_000)));
  });

  test('a replay runs, and both are found and counted', async () => {
    const { id, ended } = await command('echo once more');
    await ended;
    await until(async () => (await system.api<{ state: string }>('GET', `/v1/history/${id}`).catch(() => null))?.state === 'done', {
      what: 'its history',
    });
    const again = await system.api<{ id: string }>('POST', `/v1/history/${id}/replay`);
    const reader = await Follower.open(system.ready.api, system.login.apiToken, `${again.id}/output`);
    await until(() => reader.ended, { what: 'the end of the replay' });
    assert.equal(reader.text('demo01'), 'once more\n');
    const page = await system.api<HistoryPage>(
      'GET',
      '/v1/history?since=-5m&service=demo&verdict=ok&plugin=command%2Fcommand&worker=demo01',
    );
    const ids = page.items.map((item) => item.id);
    assert.ok(ids.indexOf(again.id) < ids.indexOf(id) && ids.includes(again.id), ids.join(' '));
    const { items } = await system.api<StatisticsAnswer>('GET', '/v1/statistics?service=demo&since=-2h');
    assert.ok(items.reduce((sum, { count }) => sum + count, 0) >= 3);
  });
});
