import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { LIMITS } from '../../protocol/limits.ts';
import type { FakeBroker, FakeRequest } from './fake-broker.ts';
import { connect } from './support.ts';

const RULE = { service: 'demo', plugin: 'flood' };
const CHUNK = Buffer.alloc(16 * 1024, 'x');

/** Answers like a worker that prints `total` bytes and sends no more than it has credit for. Returns the most that was ever unread. */
function flood(broker: FakeBroker, total: number): { outstanding: number } {
  const seen = { outstanding: 0 };
  broker.onRequest = ({ peer, call, credit }: FakeRequest) => {
    let sent = 0;
    let granted = credit;
    let sequence = 0;
    const more = (): void => {
      while (sent < total && sent + CHUNK.length <= granted) {
        peer.output(call, 1, sequence, CHUNK);
        sequence += 1;
        sent += CHUNK.length;
      }
      seen.outstanding = Math.max(seen.outstanding, granted - sent);
      if (sent >= total && sequence > 0) {
        peer.result(call);
        sequence = 0;
      }
    };
    peer.onCredit = (_call, worker, bytes) => {
      assert.equal(worker, 1);
      granted += bytes;
      assert.ok(granted - sent <= credit, 'never more than the first credit is outstanding');
      more();
    };
    peer.manifest(call, [1]);
    more();
  };
  return seen;
}

test('100 MB to a slow reader arrive whole in bounded memory', async (t) => {
  const { client, broker } = await connect(t);
  const total = 100 * 1024 * 1024;
  flood(broker, total);
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  let peak = 0;
  let bytes = 0;
  let next = 0;
  for await (const { data, sequence } of client.invoke({ ...RULE, payload: '', timeoutMs: 60_000 })) {
    assert.equal(sequence, next);
    next += 1;
    bytes += data.length;
    // Slower than the sender: what is not asked for must wait at the sender.
    if (next % 8 === 0) await turn();
    peak = Math.max(peak, process.memoryUsage.rss() - before);
  }
  assert.equal(bytes, total);
  assert.ok(peak < 150 * 1024 * 1024, `${Math.round(peak / 1e6)} MB more than before`);
});

test('a reader that stops gets no more than its credit', async (t) => {
  const { client, broker } = await connect(t);
  flood(broker, 10 * 1024 * 1024);
  const invocation = client.invoke({ ...RULE, payload: '' });
  const iterator = invocation[Symbol.asyncIterator]();
  await iterator.next();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(broker.sessions[0]?.credits.size, 0);
  await iterator.return?.(undefined);
});

test('output that nobody reads does not hold the run up', async (t) => {
  const { client, broker } = await connect(t);
  flood(broker, 1024 * 1024);
  assert.equal((await client.invoke({ ...RULE, payload: '', timeoutMs: 10_000 }).outcome).verdict, 'ok');
});

test('callers of send are granted credit by themselves unless they want to do it', async (t) => {
  const { client, broker } = await connect(t);
  const total = 1024 * 1024;
  flood(broker, total);
  const route = client.route(RULE);
  for (const manualCredit of [false, true]) {
    const received = await new Promise<number>((resolve) => {
      let bytes = 0;
      const options = { manualCredit, creditBytes: 32 * 1024 };
      route.send(
        Buffer.alloc(0),
        {
          output: (call, data, _stderr, worker) => {
            bytes += data.length;
            if (manualCredit) call.grant(data.length, worker);
          },
          done: () => resolve(bytes),
        },
        options,
      );
    });
    assert.equal(received, total);
  }
  assert.equal(broker.requests[0]?.credit, 32 * 1024);
  assert.ok(LIMITS.initialCreditBytes > 32 * 1024);
});
