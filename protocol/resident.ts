import { type Static, Type } from 'typebox';
import { type CatchUp, FireOutcome, type Overlap } from './http/schedule.ts';
import { PLUGIN_PATTERN } from './names.ts';
import { VERDICT_NAMES } from './verdicts.ts';

/**
 * Bodies of the records about schedules that workers keep: which ones, since which slot, and what became of each slot.
 * Times are milliseconds since 1970, spans are milliseconds.
 */

/** Limits of resident schedules. */
export const RESIDENT_LIMITS = Object.freeze({
  /** Schedules of one worker. */
  schedules: 10_000,
  /** Output that is kept of one fire, in bytes: the newest. */
  outputBytes: 1024 * 1024,
  /** Fires of one FIRES record. */
  fires: 256,
  /** A FIRES record is closed above this size. */
  targetBytes: 512 * 1024,
  /** What a broker's word may be late by, added to the time after which a schedule is taken over. */
  marginMs: 30_000,
});

const Id = Type.Integer({ minimum: 1, maximum: 0x7fffffff });
const Generation = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Time = Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000 });
const Uuid = Type.String({ pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' });
const CLOSED = { additionalProperties: false } as const;

/** A schedule of a journal: all slots up to `last` are dealt with. */
export const HeldSchedule = Type.Object(
  {
    schedule: Id,
    /** Counts how often the schedule has changed hands. */
    generation: Generation,
    /** Version of the definition. */
    version: Generation,
    last: Time,
  },
  CLOSED,
);
export type HeldSchedule = Static<typeof HeldSchedule>;

/** KEEP: what a worker's journal holds, and what it has let go. Answered by SCHEDULE and SCHEDULES, when the broker can. */
export const Keep = Type.Object(
  {
    /** Counts the KEEPs of a session; comes back in SCHEDULES. */
    keep: Type.Integer({ minimum: 1, maximum: 0xffffffff }),
    /** Id of the journal: one of several processes with the same identity. */
    journal: Uuid,
    schedules: Type.Array(HeldSchedule, { maxItems: RESIDENT_LIMITS.schedules }),
    /** Schedules that were taken back, until SCHEDULES confirms that this was heard. */
    released: Type.Array(HeldSchedule, { maxItems: RESIDENT_LIMITS.schedules }),
  },
  CLOSED,
);
export type Keep = Static<typeof Keep>;

/** SCHEDULE: a definition that the journal does not have in this version. */
export interface ResidentSchedule {
  readonly schedule: number;
  readonly generation: number;
  readonly version: number;
  readonly name: string;
  /** Slots after this are the worker's. */
  readonly from: number;
  /** The journal had it before: if it has forgotten, slots up to now may have been fired, and are not fired again. */
  readonly taken: boolean;
  /** One of `cron` (with `timezone`), `everyMs` (counted from `anchor`) and `runAt`. */
  readonly cron: string | null;
  readonly timezone: string;
  readonly everyMs: number | null;
  readonly anchor: number;
  readonly runAt: number | null;
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  readonly payload: string;
  readonly timeoutMs: number;
  /** Why the service does not let this plugin run: slots are reported as `denied`. */
  readonly denied?: string;
  readonly catchup: CatchUp;
  readonly catchupWindowMs: number;
  readonly overlap: Overlap;
  /** Jitter: each slot is fired this much after it is due. */
  readonly offsetMs: number;
  /** Slots before this are not due; 0 for none. */
  readonly pausedUntil: number;
  /** Without a word of a broker for this long, the worker fires no more: somebody else may. */
  readonly offlineMs: number;
}

/** SCHEDULES: the definitions that are this journal's, all of them, at a version of the team's configuration. */
export interface ResidentSchedules {
  readonly version: number;
  /** The newest KEEP that this takes into account. */
  readonly keep: number;
  /** Absent: the same as at that version before. What is missing was taken back. */
  readonly schedules?: readonly { readonly schedule: number; readonly generation: number }[];
  /** Another journal of the same identity waits for them: this is no word that they are still the worker's. */
  readonly contested?: boolean;
  /** Held by another journal of the same identity, at the latest until then. */
  readonly waiting?: readonly { readonly schedule: number; readonly until: number }[];
}

/** What became of one slot. */
export const FireReport = Type.Object(
  {
    schedule: Id,
    generation: Generation,
    due: Time,
    /** The outcome is that of all slots up to this one, none of which was fired. */
    through: Type.Optional(Time),
    outcome: FireOutcome,
    reason: Type.String({ maxLength: 1000 }),
    at: Time,
    /** Absent for slots that were not fired. */
    run: Type.Optional(
      Type.Object(
        {
          service: Type.String({ minLength: 1, maxLength: 128 }),
          plugin: Type.String({ maxLength: 128, pattern: PLUGIN_PATTERN }),
          args: Type.Record(Type.String({ maxLength: 64 }), Type.String()),
          payload: Type.String({ maxLength: 65_536 }),
          timeoutMs: Type.Integer({ minimum: 0 }),
          verdict: Type.Enum([...VERDICT_NAMES]),
          exitCode: Type.Integer({ minimum: -32_768, maximum: 65_535 }),
          signal: Type.Integer({ minimum: 0, maximum: 255 }),
          error: Type.Integer({ minimum: 0, maximum: 65_535 }),
          detail: Type.String({ maxLength: 4096 }),
          startedAt: Time,
          endedAt: Time,
          durationUs: Type.Integer({ minimum: 0 }),
          /** Bytes of this fire after the head: chunks of u8 flags, u32 length, data. */
          outputBytes: Type.Integer({ minimum: 0, maximum: 2 * RESIDENT_LIMITS.outputBytes }),
          /** Bytes of output before those, which were dropped. */
          droppedBytes: Type.Integer({ minimum: 0 }),
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);
export type FireReport = Static<typeof FireReport>;

/** Head of FIRES. */
export const FiresHead = Type.Object({ fires: Type.Array(FireReport, { minItems: 1, maxItems: RESIDENT_LIMITS.fires }) }, CLOSED);
export type FiresHead = Static<typeof FiresHead>;

/** FIRED: a FIRES record is written, except for what is refused for good; or it could not be written now. */
export interface Fired {
  readonly upload: number;
  /** Set: nothing was written; try again, here or elsewhere. */
  readonly retry?: string;
  /** Fires by their place in the record, which are not taken. */
  readonly refused?: readonly { readonly fire: number; readonly reason: string }[];
}
