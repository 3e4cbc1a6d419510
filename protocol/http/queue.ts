import { type Static, Type } from 'typebox';
import { LIMITS } from '../limits.ts';
import { ARGUMENT_PATTERN } from '../names.ts';
import { VERDICT_NAMES } from '../verdicts.ts';
import { CLOSED, PluginText, Timestamp } from './common.ts';
import { INVOCATION_SOURCES } from './history.ts';
import { RunAnswer } from './invocation.ts';

/** Limits of what is accepted for later. Times are milliseconds. */
export const QUEUE_LIMITS = Object.freeze({
  /** Longest delay of an invocation. */
  maxDelayMs: 365 * 86_400_000,
  /** How long an invocation may wait for a worker when nothing is said, counted from when it is due. */
  maxAgeMs: 86_400_000,
  maxMaxAgeMs: 365 * 86_400_000,
  maxRetries: 1000,
  /** Pause before the first retry when nothing is said; each later one is twice as long, with jitter. */
  backoffMs: 1_000,
  maxBackoffMs: 3_600_000,
  /** Invocations with a higher priority go first. */
  minPriority: -100,
  maxPriority: 100,
  /** How often a result may set off a follow-up that has follow-ups itself. */
  maxDepth: 8,
  /** Bytes of output that a queue item keeps of each stream: the end of it. */
  tailBytes: 32 * 1024,
});

/**
 * queued: it waits for its turn. running: a broker has it. done: it ended `ok`. dead: it failed and is not tried again.
 * cancelled: somebody asked for its end. expired: it waited longer than its max age.
 */
export const QUEUE_STATES = ['queued', 'running', 'done', 'dead', 'cancelled', 'expired'] as const;
export const QueueState = Type.Enum([...QUEUE_STATES]);
export type QueueState = Static<typeof QueueState>;

/** `500ms`, `10s`, `5m`, `2h`, `1d`. */
const DurationText = Type.String({ maxLength: 32 });
const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);

/** What happens with a result: a trigger file of the team is fired with it, or it is posted to a URL. */
export const FollowUp = Type.Union([
  Type.Object({ trigger: Type.String({ minLength: 2, maxLength: 1100, pattern: '^/' }) }, CLOSED),
  Type.Object({ callback: Type.String({ minLength: 8, maxLength: 2048, pattern: '^https?://' }) }, CLOSED),
]);
export type FollowUp = Static<typeof FollowUp>;

/** Sources that a request may name; all others are known from the door that it came through. */
const CALLER_SOURCES = ['api', 'client'] as const;

/** How an invocation waits and what follows it. */
export const QueueOptions = {
  /** Not before this time has passed. */
  delay: Type.Optional(DurationText),
  priority: Type.Optional(Type.Integer({ minimum: QUEUE_LIMITS.minPriority, maximum: QUEUE_LIMITS.maxPriority })),
  /** How often it is tried again after `failed`, `timeout` and `worker-lost`. Default 0. */
  retries: Type.Optional(Type.Integer({ minimum: 0, maximum: QUEUE_LIMITS.maxRetries })),
  /** Pause before the first retry, doubled for each later one. Default 1s. */
  backoff: Type.Optional(DurationText),
  /** How long it may wait for a worker. Default 24h. */
  maxAge: Type.Optional(DurationText),
  /** Invocations of the team with the same key run one after another. */
  concurrencyKey: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  onSuccess: Type.Optional(FollowUp),
  onFailure: Type.Optional(FollowUp),
} as const;

/** Body of `POST /v1/invocations`. */
export const QueueRequest = Type.Object(
  {
    /** `service`, `team/service`, or the identity of a worker. */
    service: Type.String({ minLength: 1, maxLength: 128 }),
    plugin: PluginText,
    /** The payload as text; `command` is another name for it. At most one of the three may be given. */
    payload: Type.Optional(Type.String()),
    command: Type.Optional(Type.String()),
    payloadBase64: Type.Optional(Type.String()),
    args: Type.Optional(
      Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), Type.Union([Type.String(), Type.Number(), Type.Boolean()]), {
        additionalProperties: false,
      }),
    ),
    /** Of one run; the service's timeout when absent. */
    timeout: Type.Optional(DurationText),
    /** What the history names as source: `client` for triggerfs-client and programs with the client library. Default `api`. */
    source: Type.Optional(Type.Enum([...CALLER_SOURCES])),
    ...QueueOptions,
  },
  CLOSED,
);
export type QueueRequest = Static<typeof QueueRequest>;

/** Largest body: a full payload as base64 with full arguments. */
export const QUEUE_BODY_BYTES: number = Math.ceil(LIMITS.payloadBytes / 3) * 4 + LIMITS.argsBytes + 16_384;

/** The `Idempotency-Key` header: the same key with the same request is the same invocation, as long as that is kept. */
export const IdempotencyHeaders = Type.Object({
  'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 200, pattern: '^[\\x21-\\x7e]+$' })),
});

/** Path of one invocation. */
export const QueueParams = Type.Object({ id: Type.String({ format: 'uuid' }) });

const SUMMARY = {
  id: Type.String(),
  state: QueueState,
  service: Type.String(),
  plugin: Type.String(),
  source: Type.Enum([...INVOCATION_SOURCES]),
  /** Identity of who asked for it; empty when nobody was logged in. */
  caller: Type.String(),
  priority: Type.Integer(),
  /** How often it was handed to a broker. */
  attempt: Type.Integer(),
  /** Retries that are left. */
  retriesLeft: Type.Integer(),
  acceptedAt: Timestamp,
  /** When it may run next, or might have. */
  dueAt: Timestamp,
  /** When it is given up if it has not run. */
  expiresAt: Timestamp,
  endedAt: orNull(Timestamp),
  /** Null while it has not ended. */
  verdict: orNull(Type.Enum([...VERDICT_NAMES])),
  exitCode: orNull(Type.Integer()),
  /** Code of the registry, also of the last attempt while it waits for the next one. */
  error: orNull(Type.String()),
  /** Why it is as it is: the reason of a dead letter, or of the wait. */
  detail: Type.String(),
} as const;

/** A queued invocation in a list. */
export const QueueSummary = Type.Object(SUMMARY);
export type QueueSummary = Static<typeof QueueSummary>;

/** One attempt to run it. A second row with the same invocation id is the same request, asked for again after a crash. */
export const QueueAttempt = Type.Object({
  attempt: Type.Integer(),
  /** Id in the history. */
  invocation: Type.String(),
  worker: Type.String(),
  startedAt: Timestamp,
  endedAt: orNull(Timestamp),
  verdict: orNull(Type.Enum([...VERDICT_NAMES])),
  exitCode: orNull(Type.Integer()),
  error: orNull(Type.String()),
  detail: Type.String(),
  /** The request was sent before and asked for again: a worker that knew it only answered. */
  resumed: Type.Boolean(),
  /** How often the request went out: again, under the same id, when a broker was lost. 0: never. */
  sends: Type.Integer(),
  /** It answered when a later attempt had taken over: it is noted and changed nothing. */
  late: Type.Boolean(),
});
export type QueueAttempt = Static<typeof QueueAttempt>;

/** How it ended: as `POST /v1/invoke` answers, with the end of the output. */
export const QueueResult = Type.Object({
  verdict: Type.Enum([...VERDICT_NAMES]),
  exitCode: Type.Integer(),
  error: orNull(Type.String()),
  detail: Type.String(),
  /** Standard output of all runs, the last 32 KiB; bytes that are no UTF-8 are replaced here and exact in `outputBase64`. */
  output: Type.String(),
  outputBase64: Type.Optional(Type.String()),
  stderr: Type.String(),
  /** There was more output; the history has all of it. */
  truncated: Type.Optional(Type.Literal(true)),
  durationMs: Type.Number(),
  runs: Type.Array(RunAnswer),
});
export type QueueResult = Static<typeof QueueResult>;

/** Answer of `GET /v1/invocations/:id`, and of `POST /v1/invocations` (202). */
export const QueueView = Type.Object({
  ...SUMMARY,
  concurrencyKey: orNull(Type.String()),
  onSuccess: orNull(FollowUp),
  onFailure: orNull(FollowUp),
  attempts: Type.Array(QueueAttempt),
  /** Null while it has not ended. */
  result: orNull(QueueResult),
});
export type QueueView = Static<typeof QueueView>;

/** Answer of `POST /v1/invocations`. */
export const QueueAccepted = Type.Object({
  id: Type.String(),
  state: QueueState,
  /** The invocation existed already: its idempotency key was used before with the same request. */
  existing: Type.Boolean(),
  /** Of an existing one that has ended. */
  result: orNull(QueueResult),
});
export type QueueAccepted = Static<typeof QueueAccepted>;

/** Query of `GET /v1/queue`. */
export const QueueQuery = Type.Object(
  {
    state: Type.Optional(QueueState),
    service: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    caller: Type.Optional(Type.String({ maxLength: 254 })),
    /** `next` of the page before. */
    before: Type.Optional(Type.String({ format: 'uuid' })),
    /** Default 50, at most 500. */
    limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]?|[1-4][0-9]{2}|500)$' })),
  },
  CLOSED,
);
export type QueueQuery = Static<typeof QueueQuery>;

const Count = Type.Integer();

/** Answer of `GET /v1/queue`, newest first. The counts are of the whole team, or of one service where that is asked for. */
export const QueueList = Type.Object({
  items: Type.Array(QueueSummary),
  /** Give it as `before` for the next page; null on the last one. */
  next: orNull(Type.String()),
  counts: Type.Object({ queued: Count, running: Count, done: Count, dead: Count, cancelled: Count, expired: Count }),
  /** How long the oldest invocation that is due has been waiting, in milliseconds; 0 when none waits. */
  oldestAgeMs: Type.Integer(),
});
export type QueueList = Static<typeof QueueList>;

/** Body of `POST /v1/queue/redrive`: all dead letters of a service go back into the queue. */
export const QueueRedrive = Type.Object(
  {
    service: Type.String({ minLength: 1, maxLength: 128 }),
    /** Default `dead`. */
    state: Type.Optional(Type.Enum(['dead', 'expired', 'cancelled'])),
  },
  CLOSED,
);
export type QueueRedrive = Static<typeof QueueRedrive>;

/** How many went back. */
export const QueueRedriven = Type.Object({ redriven: Type.Integer() });

/** The team's secret that callbacks are signed with, as hex. */
export const CallbackSecret = Type.Object({ secret: Type.String() });
