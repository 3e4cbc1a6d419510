import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/wait.ts';
import { ResidentStage, type Slot } from './resident-stage.ts';

/** How long the worker is cut off here; `node bench/resident-cut.ts` does the same for three minutes. */
const CUT_MS = 6_000;

/** Every second from the first slot to the last has exactly one row. */
function assertGapless(slots: readonly Slot[]): void {
  const first = slots[0]?.due ?? 0;
  assert.deepEqual(
    slots.map(({ due }) => due),
    slots.map((_, i) => first + i * 1_000),
  );
}

// Each has a stage of its own, and waits most of the time.
describe('resident schedules', { concurrency: 2 }, () => {
  test('cut off from broker and control-plane, the worker keeps its schedule; after healing every fire is in the books once', async (t) => {
    const stage = await ResidentStage.start(t);
    await stage.schedule('beat');
    await stage.recorded('beat', 3);
    stage.cut();
    const before = (await stage.slots('beat')).length;
    await sleep(CUT_MS);
    const inside = stage.executions('beat').length;
    assert.ok(inside >= before + CUT_MS / 1_000 - 2, `${inside} executions`);
    assert.ok((await stage.slots('beat')).length <= before + 2, 'nothing arrived meanwhile');
    stage.heal();
    const slots = await stage.recorded('beat', before + CUT_MS / 1_000 - 1);
    assertGapless(slots);
    for (const { outcome, worker, lateness } of slots) {
      assert.equal(worker, 'rack1');
      assert.ok(['fired', 'late', 'caught-up'].includes(outcome), outcome);
      assert.ok(lateness < 10_000, `${lateness} ms late`);
    }
    const ids = slots.map(({ invocation }) => invocation);
    const executions = stage.executions('beat');
    assert.equal(new Set(executions).size, executions.length, 'nothing was executed twice');
    for (const id of ids) assert.ok(executions.includes(id as string));
    const rows = await stage.fixture.sql<{ id: string; runs: number; outputs: number; verdict: string }>(
      `select i.id, i.verdict, (select count(*)::integer from triggerfs.runs r where r.invocation_id = i.id) as runs,
       (select count(*)::integer from triggerfs.outputs o where o.invocation_id = i.id) as outputs
     from triggerfs.invocations i where i.schedule_id is not null and i.id = any($1::uuid[])`,
      [ids],
    );
    assert.equal(rows.length, ids.length);
    for (const row of rows) assert.deepEqual([row.verdict, row.runs, row.outputs], ['ok', 1, 1]);
    const page = await stage.api<{ items: { id: string; schedule: unknown }[] }>(`GET /v1/history?service=demo&limit=5`);
    const known = stage.executions('beat');
    assert.ok(page.items.length === 5 && page.items.every(({ id }) => known.includes(id)));
    const output = await fetch(new URL(`/v1/history/${ids[0]}/output`, stage.fixture.controlPlane.url), {
      headers: { authorization: `Bearer ${stage.token}` },
    });
    assert.equal(await output.text(), 'tock beat\n');
  });

  test('kill -9 while it is cut off, and a start without any uplink: it goes on from its disk', async (t) => {
    const stage = await ResidentStage.start(t);
    await stage.schedule('beat');
    await stage.recorded('beat', 2);
    stage.cut();
    for (let round = 0; round < 2; round += 1) {
      const count = stage.executions('beat').length;
      await until(() => stage.executions('beat').length >= count + 2, { what: 'executions while cut off' });
      await stage.kill();
      stage.work();
    }
    const last = stage.executions('beat').length;
    await until(() => stage.executions('beat').length >= last + 2, { what: 'executions after the last start' });
    stage.heal();
    const slots = await stage.recorded('beat', last);
    assertGapless(slots);
    const executions = stage.executions('beat');
    assert.equal(new Set(executions).size, executions.length);
    const known = new Set(slots.map(({ invocation }) => invocation));
    const newest = slots.at(-1)?.due ?? 0;
    for (const id of executions)
      assert.ok(known.has(id) || Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16) > newest, `${id} is in the books`);
  });

  test('from the control-plane to the worker and back: every second once, in effect and in the books', async (t) => {
    const stage = await ResidentStage.start(t);
    await stage.schedule('beat', { resident: null });
    await stage.recorded('beat', 3);
    for (const resident of ['rack1', null, 'rack1']) {
      await stage.api('PATCH /v1/schedules/beat', { resident });
      const count = (await stage.slots('beat')).length;
      await until(async () => (await stage.slots('beat')).slice(count).filter(({ worker }) => worker === resident).length >= 3, {
        what: `slots of ${resident ?? 'the control-plane'}`,
        timeoutMs: 20_000,
      });
    }
    const slots = await stage.slots('beat');
    assertGapless(slots);
    assert.ok(slots.filter(({ worker }) => worker === 'rack1').length >= 6);
    const ran = slots.filter(({ invocation }) => invocation !== null);
    assert.ok(ran.length >= slots.length - 4, 'at a hand-over one slot may be missed');
    const executions = await until(
      () => {
        const ids = stage.executions('beat');
        return ran.every(({ invocation }) => ids.includes(invocation as string)) ? ids : null;
      },
      { what: 'all executions' },
    );
    assert.equal(new Set(executions).size, executions.length);
  });

  test('taken back while it is cut off: nobody fires twice; the control-plane goes on when the worker has heard of it', async (t) => {
    const stage = await ResidentStage.start(t);
    await stage.schedule('beat');
    await stage.recorded('beat', 2);
    stage.cut();
    await stage.api('PATCH /v1/schedules/beat', { resident: null });
    const view = await stage.api<{ state: string; error: string }>('GET /v1/schedules/beat');
    assert.match(view.error, /worker rack1 may still fire it/);
    const count = stage.executions('beat').length;
    await until(() => stage.executions('beat').length >= count + 3, { what: 'the worker fires on' });
    assert.equal((await stage.slots('beat')).filter(({ worker }) => worker === null).length, 0);
    stage.heal();
    await until(async () => (await stage.slots('beat')).filter(({ worker }) => worker === null).length >= 3, {
      what: 'slots of the control-plane',
      timeoutMs: 30_000,
    });
    await until(async () => (await stage.slots('beat')).some(({ worker }, i, all) => worker === null && all[i - 1]?.worker === 'rack1'), {
      what: 'the reports of the worker',
    });
    const slots = await stage.slots('beat');
    assertGapless(slots);
    const executions = stage.executions('beat');
    assert.equal(new Set(executions).size, executions.length);
    const fired = slots.filter(({ worker }) => worker === 'rack1').map(({ invocation }) => invocation);
    for (const id of fired) assert.ok(executions.includes(id as string));
  });

  test('deleted while it is cut off: it fires until it hears of it, and then never again', async (t) => {
    const stage = await ResidentStage.start(t);
    await stage.schedule('beat');
    await stage.recorded('beat', 2);
    stage.cut();
    await stage.api('DELETE /v1/schedules/beat');
    const count = stage.executions('beat').length;
    await until(() => stage.executions('beat').length >= count + 2, { what: 'the worker fires on' });
    stage.heal();
    const invocations = async (): Promise<string[]> =>
      (await stage.fixture.sql<{ id: string }>('select id from triggerfs.invocations where schedule_id is not null')).map(({ id }) => id);
    await until(
      async () => {
        const known = await invocations();
        return stage.executions('beat').every((id) => known.includes(id));
      },
      { what: 'all fires are in the history', timeoutMs: 30_000 },
    );
    const holds = await until(
      async () => {
        const rows = await stage.fixture.sql<{ closed_at: Date | null }>('select closed_at from triggerfs.schedule_holds');
        return rows.every(({ closed_at }) => closed_at !== null) ? rows : null;
      },
      { what: 'the worker has let go' },
    );
    assert.equal(holds.length, 1);
    const total = stage.executions('beat').length;
    await sleep(2_500);
    assert.equal(stage.executions('beat').length, total);
    assert.equal((await invocations()).length, new Set(stage.executions('beat')).size);
  });
});
