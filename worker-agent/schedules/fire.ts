import type { FireOutcome } from '../../protocol/http/schedule.ts';
import type { ResidentSchedule } from '../../protocol/resident.ts';
import type { VerdictName } from '../../protocol/verdicts.ts';

/** How the run of a fire ended. */
export interface FireEnd {
  readonly verdict: VerdictName;
  readonly exitCode: number;
  readonly signal: number;
  readonly error: number;
  readonly detail: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly durationUs: number;
  /** Bytes of output before the kept ones. */
  readonly droppedBytes: number;
}

/** What is written down of a slot before anything is run. */
export interface NewFire {
  readonly schedule: number;
  readonly generation: number;
  readonly due: number;
  /** The entry stands for all slots up to this one. */
  readonly through: number | null;
  readonly outcome: FireOutcome;
  readonly reason: string;
  readonly at: number;
  /** What is run; null when nothing is. */
  readonly run: FireRun | null;
  /** It waits for an earlier fire to end. */
  readonly waits: boolean;
}

/** What a fire runs, as it was defined at its slot. */
export type FireRun = Pick<ResidentSchedule, 'name' | 'service' | 'plugin' | 'args' | 'payload' | 'timeoutMs' | 'denied'>;

/** A fire as it stands in the journal. */
export interface JournalFire extends NewFire {
  readonly sequence: number;
  readonly end: FireEnd | null;
}

/** A row of the table. */
export interface FireRow {
  readonly sequence: number;
  readonly schedule: number;
  readonly generation: number;
  readonly due: number;
  readonly through: number | null;
  readonly outcome: FireOutcome;
  readonly reason: string;
  readonly at: number;
  readonly definition: string | null;
  readonly begun: number;
  readonly ended: string | null;
}

/** The fire of a row. */
export function fireOf(row: FireRow): JournalFire {
  const ended = row.ended === null ? null : (JSON.parse(row.ended) as Partial<FireEnd>);
  const { sequence, schedule, generation, due, through, outcome, reason, at, definition, begun } = row;
  return {
    sequence,
    schedule,
    generation,
    due,
    through,
    outcome,
    reason,
    at,
    run: definition === null ? null : (JSON.parse(definition) as FireRun),
    waits: begun === 0,
    end: ended?.verdict === undefined ? null : (ended as FireEnd),
  };
}
