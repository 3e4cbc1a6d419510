import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeptOutput } from '../../edge-broker/gateway/kept/kept-output.ts';
import { KeptPosition } from '../../edge-broker/gateway/kept/kept-position.ts';
import type { InvocationAnswer } from '../../protocol/http/invocation.ts';
import { until } from '../support/wait.ts';
import { HookStage } from './hook-stage.ts';

test('followers share statements, and each reads its own output to the end, byte for byte', async (t) => {
  const bytes = Buffer.alloc(300_000, 0);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = (i * 7 + (i >> 8)) & 255;
  const hooks = await HookStage.create(t, {
    onTask: (task) => {
      task.started();
      const out = Buffer.concat([task.payload, bytes]);
      let at = 0;
      const pump = setInterval(() => {
        for (; at < out.length && task.credit >= 32_768; at += 32_768) task.output(out.subarray(at, at + 32_768));
        if (at < out.length) return;
        clearInterval(pump);
        task.output('oops', true);
        task.result();
      }, 1);
      t.after(() => clearInterval(pump));
    },
  });
  const { stage } = hooks;
  const { teamId } = stage.owner;
  const ids: string[] = [];
  for (const name of ['a', 'b', 'c', 'd']) ids.push(((await stage.ask({ payload: name })).answer as InvocationAnswer).invocation);
  const written = async (): Promise<boolean> => {
    const { rows } = await stage.world.sql.query('select count(*)::integer as n from triggerfs.invocations where verdict is not null');
    return rows[0].n === ids.length;
  };
  await until(written, { what: 'the history is written' });
  let statements = 0;
  const pool = {
    query: (query: unknown) => {
      statements += 1;
      return stage.world.sql.query(query as never);
    },
  };
  const output = new KeptOutput(pool as unknown as ConstructorParameters<typeof KeptOutput>[0], hooks.keys);
  const read = async (id: string, stream: 'stdout' | 'stderr'): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    for await (const piece of output.bytes(teamId, id, stream)) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  const all = await Promise.all(ids.map((id) => read(id, 'stdout')));
  all.forEach(
    (whole, index) => void assert.ok(whole.equals(Buffer.concat([Buffer.from('abcd'[index] as string), bytes])), `output ${index}`),
  );
  assert.equal((await read(ids[2] as string, 'stderr')).toString(), 'oops');
  statements = 0;
  const nothing = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      output.next(teamId, ids[n % 4] as string, KeptPosition.parse(`1_${stage.people[0]?.id}.0.9999.0`)),
    ),
  );
  assert.deepEqual([statements, nothing.flat().length], [1, 0]);
  assert.deepEqual(await output.next(teamId + 1, ids[0] as string, new KeptPosition()), [], 'another team sees nothing');
});
