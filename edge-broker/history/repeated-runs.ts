import type { Pool } from 'pg';
import { BinaryArray, ElementType } from '../../runtime/postgres/binary-array.ts';
import type { RunRecord } from './history-records.ts';

/** The broker that had the run before may still be writing. */
const SETTLE_MS = 1_000;
/** A worker repeats its output to the next broker as long as it fits into this (protocol/README.md, duplicates). */
const REPEATED_BYTES = 64 * 1024;

/**
 * Finds out what is stored of runs that another broker, or an earlier session, has begun: their blocks are numbered on from there,
 * and what the worker repeats is left out. When a worker cannot repeat everything, the next block is marked with a gap.
 */
export async function alignRuns(pool: Pool, runs: readonly RunRecord[], hurry: boolean): Promise<void> {
  const now = Date.now();
  const wanted = runs.filter((run) => run.skip === null && (hurry || now - run.startedAt >= SETTLE_MS));
  if (wanted.length === 0) return;
  const { date, uuid, int4, int2 } = ElementType;
  const [days, ids, teams] = [new BinaryArray(date), new BinaryArray(uuid), new BinaryArray(int4)];
  const [workers, attempts] = [new BinaryArray(int4), new BinaryArray(int2)];
  for (const { invocation, workerId, attempt } of wanted) {
    days.date(invocation.day);
    ids.uuid(invocation.id);
    teams.int4(invocation.rule.teamId);
    workers.int4(workerId);
    attempts.int2(attempt);
  }
  const { rows } = await pool.query<{ index: number; next: number; bytes: number }>(
    `select n.index::integer - 1 as index, max(o.block) + 1 as next, sum(o.bytes)::float8 as bytes
     from unnest($1::date[], $2::uuid[], $3::integer[], $4::integer[], $5::smallint[]) with ordinality as n (day, id, team, worker, attempt, index)
     join triggerfs.outputs o on (o.day, o.invocation_id, o.team_id, o.worker_id, o.attempt) = (n.day, n.id, n.team, n.worker, n.attempt)
     group by n.index`,
    [days.finish(), ids.finish(), teams.finish(), workers.finish(), attempts.finish()],
  );
  for (const run of wanted) run.skip = 0;
  for (const { index, next, bytes } of rows) {
    const run = wanted[index] as RunRecord;
    run.nextBlock = next;
    if (bytes <= REPEATED_BYTES) run.skip = bytes;
    else run.gap = true;
  }
}
