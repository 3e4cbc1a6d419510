import { type Static, Type } from 'typebox';
import { ALGORITHMS } from '../algorithms.ts';
import { VERDICT_NAMES } from '../verdicts.ts';
import { CLOSED, Timestamp } from './common.ts';
import { DoneEvent, OutputEvent, PingEvent, VerdictEvent } from './invocation.ts';

/** How an invocation came in. */
export const INVOCATION_SOURCES = ['client', 'fs', 'http', 'webhook', 'schedule', 'sql', 'api', 'worker'] as const;
export type InvocationSource = (typeof INVOCATION_SOURCES)[number];

/** Most invocations in one answer of `GET /v1/history`, and how many it has when nothing is said. */
export const HISTORY_PAGE = { max: 1000, default: 50 } as const;

/** A point in time in a query: ISO 8601, or so long ago: `-90s`, `-1h`, `-7d`. */
const TimeText = Type.String({
  maxLength: 40,
  pattern: '^(-[0-9]{1,9}(ms|s|m|h|d)|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2})?)?)$',
});

const Source = Type.Enum([...INVOCATION_SOURCES]);
const Verdict = Type.Enum([...VERDICT_NAMES]);
const Stream = Type.Union([Type.Literal('stdout'), Type.Literal('stderr')]);

/** `accepted`: it waits for its turn. `running`: brokers know it, and it has no verdict. `done`: it has one. */
export const InvocationState = Type.Enum(['accepted', 'running', 'done']);
export type InvocationState = Static<typeof InvocationState>;

/** Id of an invocation. */
export const InvocationParams = Type.Object({ id: Type.String({ format: 'uuid' }) });

/** Query of `GET /v1/history`. */
export const HistoryQuery = Type.Object(
  {
    service: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    /** Path of a trigger file, or its id. */
    trigger: Type.Optional(Type.String({ minLength: 1, maxLength: 1100 })),
    /** Identity of a worker that ran it. */
    worker: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    /** A verdict, or `running`: it has none yet. */
    verdict: Type.Optional(Type.Enum([...VERDICT_NAMES, 'running'])),
    caller: Type.Optional(Type.String({ maxLength: 254 })),
    source: Type.Optional(Source),
    plugin: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    since: Type.Optional(TimeText),
    until: Type.Optional(TimeText),
    /** `next` of the page before. */
    before: Type.Optional(Type.String({ maxLength: 128, pattern: '^[A-Za-z0-9_-]+$' })),
    /** Default 50, at most 1000. */
    limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]{0,2}|1000)$' })),
  },
  CLOSED,
);
export type HistoryQuery = Static<typeof HistoryQuery>;

const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);

const SUMMARY = {
  id: Type.String(),
  state: InvocationState,
  /** Null while it has not ended. */
  verdict: orNull(Verdict),
  exitCode: orNull(Type.Integer()),
  /** Code of the registry; null when the plugin ended by itself. */
  error: orNull(Type.String()),
  service: Type.String(),
  plugin: Type.String(),
  /** Null when no worker was asked yet. */
  algorithm: orNull(Type.Enum([...ALGORITHMS])),
  source: Source,
  /** Identity of who called; empty when nobody was logged in. */
  caller: Type.String(),
  /** Path of the trigger file that fired; null when there was none, when it is gone, or when the reader does not see it. */
  trigger: orNull(Type.String()),
  /** Id of the schedule that fired. */
  schedule: orNull(Type.Integer()),
  /** Identities of the workers that ran it, in the order in which they began. */
  workers: Type.Array(Type.String()),
  acceptedAt: Timestamp,
  endedAt: orNull(Timestamp),
  /** From the acceptance to the end. */
  durationMs: orNull(Type.Number()),
  /** Bytes that its runs wrote, kept or not. */
  outputBytes: Type.Integer(),
} as const;

/** One invocation in a list. */
export const HistoryItem = Type.Object(SUMMARY);
export type HistoryItem = Static<typeof HistoryItem>;

/** Answer of `GET /v1/history`, newest first. `next` is the `before` of the next page; null at the end. */
export const HistoryPage = Type.Object({ items: Type.Array(HistoryItem), next: orNull(Type.String()) });
export type HistoryPage = Static<typeof HistoryPage>;

/** The execution of an invocation on one worker. */
export const HistoryRun = Type.Object({
  /** Empty when no worker was reached. */
  worker: Type.String(),
  attempt: Type.Integer(),
  /** Null while it runs. */
  verdict: orNull(Verdict),
  exitCode: orNull(Type.Integer()),
  signal: orNull(Type.Integer()),
  error: orNull(Type.String()),
  detail: Type.String(),
  startedAt: orNull(Timestamp),
  endedAt: orNull(Timestamp),
  /** As the worker measured it. */
  durationMs: orNull(Type.Number()),
  outputBytes: Type.Integer(),
});
export type HistoryRun = Static<typeof HistoryRun>;

/** What the queue knows of an invocation that was accepted for later. */
export const HistoryQueue = Type.Object({
  /** Id under which it was accepted: that of the first attempt. */
  id: Type.String(),
  state: Type.String(),
  dueAt: orNull(Timestamp),
  /** Which attempt the invocation is, from 1; 0 before the first. */
  attempt: Type.Integer(),
  /** Ids of all attempts so far, oldest first. */
  attempts: Type.Array(Type.String()),
});
export type HistoryQueue = Static<typeof HistoryQueue>;

/** Answer of `GET /v1/history/:id`. */
export const HistoryInvocation = Type.Object({
  ...SUMMARY,
  /** Why it ended as it did, where that needs words. */
  detail: Type.String(),
  args: Type.Record(Type.String(), Type.Unknown()),
  timeoutMs: orNull(Type.Integer()),
  deadlineAt: orNull(Timestamp),
  /** Runs that are expected; null when that is not known yet. */
  expected: orNull(Type.Integer()),
  /** Size of the input; null before its turn. */
  payloadBytes: orNull(Type.Integer()),
  /** Whether the input was kept, so that it can be replayed. */
  replayable: Type.Boolean(),
  /** Whether any of its output is kept. */
  outputKept: Type.Boolean(),
  /** Null when it was called directly. */
  queue: orNull(HistoryQueue),
  runs: Type.Array(HistoryRun),
});
export type HistoryInvocation = Static<typeof HistoryInvocation>;

/**
 * Query of `GET /v1/history/:id/output`. The format goes by `Accept`: the bytes themselves (application/octet-stream, the default), or
 * pieces as application/x-ndjson or text/event-stream, which is always live; NDJSON is live with `follow=1`.
 */
export const HistoryOutputQuery = Type.Object(
  {
    /** Only the output of this worker. */
    worker: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    /** Only this stream; both when absent. */
    stream: Type.Optional(Stream),
    follow: Type.Optional(Type.Union([Type.Literal('0'), Type.Literal('1')])),
    /** Where to go on: the `id` of an event, as an alternative to the header Last-Event-ID. */
    after: Type.Optional(Type.String({ maxLength: 8192 })),
  },
  CLOSED,
);
export type HistoryOutputQuery = Static<typeof HistoryOutputQuery>;

/** What is followed; the first event, and again when a waiting invocation begins. */
export const HistoryInvocationEvent = Type.Object({ event: Type.Literal('invocation'), ...SUMMARY });
export type HistoryInvocationEvent = Static<typeof HistoryInvocationEvent>;

/** A piece of kept output. Text is exact; what is no UTF-8 by itself, such as half a character, is base64. */
export const HistoryOutputEvent = Type.Object({
  ...OutputEvent.properties,
  attempt: Type.Integer(),
  /** When the broker got it. */
  at: Timestamp,
  /** Where to go on after this event. NDJSON only: over server-sent events it is the `id`. */
  cursor: Type.Optional(Type.String()),
});
export type HistoryOutputEvent = Static<typeof HistoryOutputEvent>;

/** Output of this run is missing here: it was lost before it could be kept. */
export const HistoryGapEvent = Type.Object({
  event: Type.Literal('gap'),
  worker: Type.String(),
  attempt: Type.Integer(),
  at: Timestamp,
  cursor: Type.Optional(Type.String()),
});
export type HistoryGapEvent = Static<typeof HistoryGapEvent>;

/** A run has ended; all of its output came before. */
export const HistoryVerdictEvent = Type.Object({ ...VerdictEvent.properties, cursor: Type.Optional(Type.String()) });
export type HistoryVerdictEvent = Static<typeof HistoryVerdictEvent>;

/** A line of a live answer. After `done` nothing comes; an answer that ends without it was cut, and is resumed after its last cursor. */
export const HistoryEvent = Type.Union([
  HistoryInvocationEvent,
  HistoryOutputEvent,
  HistoryGapEvent,
  HistoryVerdictEvent,
  DoneEvent,
  PingEvent,
]);
export type HistoryEvent = Static<typeof HistoryEvent>;

/** Answer of `POST /v1/history/:id/replay`: the new invocation. */
export const ReplayAnswer = Type.Object({ id: Type.String() });
export type ReplayAnswer = Static<typeof ReplayAnswer>;

/** Query of `GET /v1/statistics`. */
export const StatisticsQuery = Type.Object(
  {
    service: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    /** Default `-24h`; at most 400 days ago. */
    since: Type.Optional(TimeText),
  },
  CLOSED,
);
export type StatisticsQuery = Static<typeof StatisticsQuery>;

/** The invocations of a service that ended within an hour. */
export const StatisticsHour = Type.Object({
  service: Type.String(),
  /** Beginning of the hour. */
  hour: Timestamp,
  count: Type.Integer(),
  /** Those whose verdict is neither `ok` nor `cancelled`. */
  failures: Type.Integer(),
  /** Half of them took at most this, from the acceptance to the end. */
  p50Ms: Type.Number(),
  /** 95 of 100 took at most this. */
  p95Ms: Type.Number(),
  /** The hour is not over, or was not added up yet: computed for this answer. */
  live: Type.Boolean(),
});
export type StatisticsHour = Static<typeof StatisticsHour>;

/** Answer of `GET /v1/statistics`, newest hour first, then by service. */
export const StatisticsAnswer = Type.Object({ items: Type.Array(StatisticsHour) });
export type StatisticsAnswer = Static<typeof StatisticsAnswer>;
