import { type Static, Type } from 'typebox';
import { LIMITS } from '../limits.ts';
import { ARGUMENT_PATTERN } from '../names.ts';
import { CLOSED, Description, NameText, Origin, PluginText, Timestamp } from './common.ts';
import { PathText } from './trigger.ts';

/** Shortest and longest period, and the longest window and jitter, in milliseconds. */
export const SCHEDULE_LIMITS = Object.freeze({
  minEveryMs: 1_000,
  maxEveryMs: 366 * 86_400_000,
  maxWindowMs: 366 * 86_400_000,
  maxJitterMs: 86_400_000,
  minOfflineMs: 60_000,
  /** Characters of a payload. Bigger input belongs into a file that the plugin fetches. */
  payloadLength: 65_536,
  /** Missed slots that `catchup all` fires at once; older ones are recorded as missed. */
  catchup: 100,
});

/** What happens to slots that passed while nothing could fire them: none, the newest, or each of them. */
export const CatchUp = Type.Union([Type.Literal('skip'), Type.Literal('one'), Type.Literal('all')]);
export type CatchUp = Static<typeof CatchUp>;

/** What a slot does while an earlier fire has not ended: nothing, wait (one of them), or run beside it. */
export const Overlap = Type.Union([Type.Literal('skip'), Type.Literal('queue'), Type.Literal('allow')]);
export type Overlap = Static<typeof Overlap>;

/** How one due slot ended: on time, later than a second, given up for an earlier fire, for its age, or made good afterwards. */
export const FireOutcome = Type.Union([
  Type.Literal('fired'),
  Type.Literal('late'),
  Type.Literal('skipped'),
  Type.Literal('missed'),
  Type.Literal('caught-up'),
]);
export type FireOutcome = Static<typeof FireOutcome>;

const Args = Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), Type.String({ maxLength: LIMITS.argsBytes }), {
  additionalProperties: false,
});
const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);

const RULE = {
  /** Five fields, or six with seconds in front, names and nicknames such as `@daily`. One of `cron`, `everyMs` and `runAt`. */
  cron: nullable(Type.String({ minLength: 1, maxLength: 200 })),
  everyMs: nullable(Type.Integer({ minimum: SCHEDULE_LIMITS.minEveryMs, maximum: SCHEDULE_LIMITS.maxEveryMs })),
  /** Once: ISO 8601; without an offset in the schedule's time zone. Answers are in UTC. */
  runAt: nullable(Type.String({ minLength: 10, maxLength: 40 })),
  /** IANA name, such as `America/New_York`. */
  timezone: Type.String({ minLength: 1, maxLength: 64 }),
  /** Path of a trigger whose rule is run; or `service` with `plugin`. */
  trigger: nullable(PathText),
  service: nullable(Type.String({ minLength: 1, maxLength: 127 })),
  plugin: nullable(PluginText),
  /** Added to the arguments of the trigger. */
  args: Args,
  payload: Type.String({ maxLength: SCHEDULE_LIMITS.payloadLength }),
  catchup: CatchUp,
  /** Slots that are older are not caught up. */
  catchupWindowMs: Type.Integer({ minimum: 0, maximum: SCHEDULE_LIMITS.maxWindowMs }),
  overlap: Overlap,
  /** Each schedule fires this much later at most, always by the same time. */
  jitterMs: Type.Integer({ minimum: 0, maximum: SCHEDULE_LIMITS.maxJitterMs }),
  enabled: Type.Boolean(),
  /** Slots before this are not due. */
  pausedUntil: nullable(Timestamp),
  /** Worker that keeps the clock, also while it is cut off; null: the control-planes. */
  resident: nullable(NameText),
  /** How long that worker fires on without a word from a broker; it is waited for so long when the schedule is taken back. */
  offlineMs: Type.Integer({ minimum: SCHEDULE_LIMITS.minOfflineMs, maximum: SCHEDULE_LIMITS.maxWindowMs }),
  /** Null: the trigger's or the service's. */
  timeoutMs: nullable(Type.Integer({ minimum: LIMITS.minTimeoutMs, maximum: LIMITS.maxTimeoutMs })),
  /** Attempts after a failed one. */
  retries: Type.Integer({ minimum: 0, maximum: 100 }),
} as const;

/** A schedule and where it stands. */
export const ScheduleView = Type.Object({
  ...Origin,
  name: Type.String(),
  ...RULE,
  args: Type.Record(Type.String(), Type.String()),
  /** `incomplete`: rule or target are still to be set; `error`: see `error`; `finished`: its one time is over. */
  state: Type.Union([
    Type.Literal('active'),
    Type.Literal('paused'),
    Type.Literal('finished'),
    Type.Literal('incomplete'),
    Type.Literal('error'),
  ]),
  /** Why it is not planned. */
  error: nullable(Type.String()),
  nextRunAt: nullable(Timestamp),
  lastDueAt: nullable(Timestamp),
  lastFiredAt: nullable(Timestamp),
  lastOutcome: nullable(FireOutcome),
  /** What the last fire handed to the queue: `GET /v1/invocations/:id`. */
  lastInvocation: nullable(Type.String()),
});
export type ScheduleView = Static<typeof ScheduleView>;

const CHANGES = Type.Partial(Type.Object(RULE)).properties;

/** Body of `POST /v1/schedules`. */
export const ScheduleCreate = Type.Object({ name: NameText, description: Type.Optional(Description), ...CHANGES }, CLOSED);

/** Body of `PATCH /v1/schedules/:name`. A new rule (`cron`, `everyMs`, `runAt`) or target replaces the one before. */
export const ScheduleChange = Type.Object(
  { name: Type.Optional(NameText), description: Type.Optional(Description), ...CHANGES },
  { ...CLOSED, minProperties: 1 },
);
export type ScheduleChange = Static<typeof ScheduleChange>;

/** Body of `POST /v1/schedules/:name/pause`; without `until` for good. */
export const SchedulePause = Type.Object({ until: Type.Optional(Timestamp) }, CLOSED);

/** Query of `GET /v1/schedules/:name/preview`: 1 to 1000 slots, 10 by default. */
export const PreviewQuery = Type.Object({ count: Type.Optional(Type.String({ pattern: '^([1-9][0-9]{0,2}|1000)$' })) }, CLOSED);

/** Answer of it: when it is due, with the local time and its offset there. Jitter is not in it. */
export const SchedulePreview = Type.Object({
  items: Type.Array(Type.Object({ dueAt: Timestamp, local: Type.String() })),
  /** How much later it fires, always. */
  offsetMs: Type.Integer(),
});
export type SchedulePreview = Static<typeof SchedulePreview>;

/** One due slot, or one `run`. */
export const FireView = Type.Object({
  dueAt: Timestamp,
  /** A missed row may stand for many slots: all from `dueAt` to this one. */
  throughAt: nullable(Timestamp),
  outcome: FireOutcome,
  source: Type.Union([Type.Literal('clock'), Type.Literal('manual')]),
  firedAt: Timestamp,
  /** From due (with jitter) to fired. */
  latenessMs: Type.Integer(),
  /** Null: nothing was handed to the queue. */
  invocationId: nullable(Type.String()),
  /** Why not. */
  reason: Type.String(),
  /** Worker that fired it; null: a control-plane. */
  worker: nullable(Type.String()),
});
export type FireView = Static<typeof FireView>;

/** Query of `GET /v1/schedules/:name/fires`, newest first. */
export const FireQuery = Type.Object(
  {
    /** Only slots that were due earlier. */
    before: Type.Optional(Timestamp),
    outcome: Type.Optional(FireOutcome),
    /** Default 50. */
    limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]?|[1-4][0-9]{2}|500)$' })),
  },
  CLOSED,
);

/** Answer of it; `next` is the `before` of the next page. */
export const FirePage = Type.Object({ items: Type.Array(FireView), next: nullable(Timestamp) });
export type FirePage = Static<typeof FirePage>;

/** Answer of `POST /v1/schedules/:name/run`. */
export const ScheduleRun = Type.Object({ id: Type.String(), dueAt: Timestamp });
