import { type Static, Type } from 'typebox';
import { VERDICT_NAMES } from '../verdicts.ts';
import { Timestamp } from './common.ts';
import { DoneEvent, OutputEvent, PingEvent, VerdictEvent } from './invocation.ts';
import { QueueResult, QueueState } from './queue.ts';

const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);

const SUMMARY = {
  id: Type.String(),
  state: QueueState,
  /** `team/service`. */
  service: Type.String(),
  plugin: Type.String(),
  /** How often it was handed to a broker. */
  attempt: Type.Integer(),
  acceptedAt: Timestamp,
  dueAt: Timestamp,
  endedAt: orNull(Timestamp),
  /** Null while it has not ended. */
  verdict: orNull(Type.Enum([...VERDICT_NAMES])),
  exitCode: orNull(Type.Integer()),
  error: orNull(Type.String()),
  detail: Type.String(),
} as const;

/** Answer of `GET /v1/invocations/:id` at the gateway. */
export const KeptInvocation = Type.Object({ ...SUMMARY, result: orNull(QueueResult) });
export type KeptInvocation = Static<typeof KeptInvocation>;

/** Answer 202 of the gateway. */
export const KeptAccepted = Type.Object({
  id: Type.String(),
  state: QueueState,
  /** It was accepted before, by the same idempotency key or delivery. */
  existing: Type.Boolean(),
});
export type KeptAccepted = Static<typeof KeptAccepted>;

/** What is followed; the first event, and again when another attempt begins. */
export const KeptEvent = Type.Object({ event: Type.Literal('invocation'), ...SUMMARY });
export type KeptEvent = Static<typeof KeptEvent>;

/** Output of a run is missing here. */
export const KeptGapEvent = Type.Object({ event: Type.Literal('gap'), worker: Type.String(), attempt: Type.Integer() });

/** A line of a live answer about a kept invocation. */
export const KeptLine = Type.Union([KeptEvent, OutputEvent, KeptGapEvent, VerdictEvent, DoneEvent, PingEvent]);
export type KeptLine = Static<typeof KeptLine>;
