import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ResidentStage } from '../test/system/resident-stage.ts';

/** How long the worker is cut off. */
const CUT_MS = 180_000;
const SCHEDULES = 5;

/**
 * A worker with schedules of every second is cut off from broker and control-plane for three minutes, killed with SIGKILL and started
 * again in the middle, and healed. Prints what is in the books. Run it with
 * `node --test --test-global-setup=test/support/global.ts bench/resident-cut.ts`.
 */
test(`resident schedules, cut off for ${CUT_MS / 1000} s`, { timeout: CUT_MS + 120_000 }, async (t) => {
  const stage = await ResidentStage.start(t);
  const names = Array.from({ length: SCHEDULES }, (_, i) => `beat${i + 1}`);
  for (const name of names) await stage.schedule(name);
  for (const name of names) await stage.recorded(name, 3);
  stage.cut();
  const cutAt = Date.now();
  await sleep(CUT_MS / 2);
  await stage.kill();
  stage.work();
  await sleep(CUT_MS / 2);
  const healedAt = Date.now();
  stage.heal();
  t.diagnostic('schedule | slots | executed | in the history | gaps | doubles | lateness p50 | p99 | largest');
  for (const name of names) {
    const slots = await stage.recorded(name, Math.floor(CUT_MS / 1000), 60_000);
    const executions = stage.executions(name);
    const dues = slots.map(({ due }) => due);
    const gaps = dues.filter((due, i) => i > 0 && due - (dues[i - 1] as number) !== 1_000).length;
    const [row] = await stage.fixture.sql<{ n: number }>(
      'select count(*)::integer as n from triggerfs.invocations i join triggerfs.schedules s on s.id = i.schedule_id where s.name = $1',
      [name],
    );
    const inside = slots.filter(({ due }) => due > cutAt && due < healedAt).map(({ lateness }) => lateness);
    inside.sort((a, b) => a - b);
    const at = (share: number): number => inside[Math.min(Math.floor(inside.length * share), inside.length - 1)] ?? 0;
    const doubles = executions.length - new Set(executions).size;
    const cells = [name, slots.length, executions.length, row?.n, gaps, doubles, `${at(0.5)} ms`, `${at(0.99)} ms`, `${at(1)} ms`];
    t.diagnostic(cells.join(' | '));
    assert.equal(gaps, 0);
    assert.equal(doubles, 0);
  }
  t.diagnostic(`uploaded within ${Math.round((Date.now() - healedAt) / 100) / 10} s after the healing`);
});
