import type { Principal } from '../auth/principal.ts';
import type { Database, Transaction } from '../database.ts';
import type { BlockRow } from './blocks.ts';
import type { Position } from './position.ts';
import { findInvocation, type InvocationRow, listRuns, type Place, type RunRow } from './repository.ts';
import { type Followed, isFollowed } from './tail.ts';

/** Blocks of a page: what one reader holds in memory, about a megabyte. */
const BLOCKS = 12;

/** What a reader has not read, or the beginning of it. */
export interface Page {
  readonly invocation: InvocationRow;
  readonly runs: readonly RunRow[];
  /** By time; those of a run in their order. */
  readonly blocks: readonly BlockRow[];
  /** There is more already. */
  readonly more: boolean;
}

/**
 * Reads what comes after a position. The verdicts are read before the output, so a run with a verdict has no output that this
 * or a later page would not see. Undefined: there is no such invocation, or the reader may not see it.
 */
export function readPage(
  database: Database,
  principal: Principal,
  { id, worker }: Omit<Followed, 'teamId'>,
  position: Position,
): Promise<Page | undefined> {
  return database.inTeam(principal.teamId, async (tx) => {
    const invocation = await findInvocation(tx, principal, id);
    if (invocation === undefined) return undefined;
    const place = { teamId: principal.teamId, id, day: invocation.day };
    const runs = (await listRuns(tx, place)).filter((run) => isFollowed(worker, run.worker));
    const open = runs.filter((run) => !position.of(run.workerId, run.attempt).ended);
    const blocks = open.length === 0 ? [] : await readBlocks(tx, place, open, position);
    return { invocation, runs, blocks, more: blocks.length === BLOCKS };
  });
}

/** The clocks of brokers may step, so a block counts as no older than those before it in its run. */
async function readBlocks(tx: Transaction, place: Place, runs: readonly RunRow[], position: Position): Promise<BlockRow[]> {
  return tx.rows<BlockRow>(
    `select r.worker_id as "workerId", r.worker, r.attempt, o.block, o.at, o.gap, o.data
     from unnest($4::integer[], $5::text[], $6::smallint[], $7::integer[]) r (worker_id, worker, attempt, next)
     cross join lateral (
       select o.block, o.at, o.gap, o.data, max(o.at) over (order by o.block) as ordered from (
         select o.block, o.at, o.gap, o.data from triggerfs.outputs o
         where o.team_id = $1 and o.invocation_id = $2 and o.day = $3::date and o.worker_id = r.worker_id and o.attempt = r.attempt
           and o.block >= r.next order by o.block limit ${BLOCKS}) o) o
     order by o.ordered, r.worker_id, r.attempt, o.block limit ${BLOCKS}`,
    [
      place.teamId,
      place.id,
      place.day,
      runs.map((run) => run.workerId),
      runs.map((run) => run.worker),
      runs.map((run) => run.attempt),
      runs.map((run) => position.of(run.workerId, run.attempt).block),
    ],
  );
}
