import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { World } from '../support/world.ts';

test('a broker drains and ends with 0 when announced maintenance begins, and the next one only at its own time', async (t) => {
  const world = await World.create(t);
  const broker = await BrokerProcess.start(t, world, 'broker');

  /** Announces maintenance; returns how early (negative) or late the broker ended, in milliseconds by the clock of the database. */
  async function endedAfter(seconds: number): Promise<number> {
    const { rows: made } = await world.sql.query<{ id: number }>(`select triggerfs.announce_maintenance('test', $1, null) as id`, [
      seconds,
    ]);
    assert.equal(await broker.ended(), 0);
    const { rows } = await world.sql.query<{ state: string; ms: number }>(
      `select b.state, extract(epoch from clock_timestamp() - m.starts_at)::float8 * 1000 as ms from triggerfs.brokers b, triggerfs.maintenances m where m.id = $1`,
      [made[0]?.id],
    );
    assert.equal(rows[0]?.state, 'down');
    return rows[0].ms;
  }

  const late = await endedAfter(1);
  assert.ok(late >= 0 && late < 5_000, `${late} ms`);
  await broker.start();
  const again = await endedAfter(2);
  assert.ok(again >= 0, `it ended ${-again} ms before its time: for the maintenance that it was started again after`);
});
