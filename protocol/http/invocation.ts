import { type Static, Type } from 'typebox';
import { CLOSED } from './common.ts';

/** Body of `POST /v1/invoke/:team/:service` in its JSON form. */
export const InvokeBody = Type.Object(
  {
    plugin: Type.String({ maxLength: 128 }),
    /** The payload as text; `command` is another name for it. At most one of the three may be given. */
    payload: Type.Optional(Type.String()),
    command: Type.Optional(Type.String()),
    payloadBase64: Type.Optional(Type.String()),
    args: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.Union([Type.String(), Type.Number(), Type.Boolean()]))),
    /** `500ms`, `10s`, `5m`; the service's timeout when absent. */
    timeout: Type.Optional(Type.String({ maxLength: 32 })),
  },
  CLOSED,
);
export type InvokeBody = Static<typeof InvokeBody>;

const Code = Type.Union([Type.String(), Type.Null()]);

const VERDICT = {
  /** Identity of the worker; empty when no worker was reached. */
  worker: Type.String(),
  verdict: Type.String(),
  /** Exit code of the plugin, 128 + n after signal n. */
  exitCode: Type.Integer(),
  signal: Type.Integer(),
  attempt: Type.Integer(),
  durationMs: Type.Number(),
  /** Code of the registry; null when the plugin ended by itself. */
  error: Code,
  detail: Type.String(),
} as const;

/** One run in the JSON answer. Output that is no UTF-8 is in the fields with `Base64` instead. */
export const RunAnswer = Type.Object({
  ...VERDICT,
  stdout: Type.Optional(Type.String()),
  stdoutBase64: Type.Optional(Type.String()),
  stderr: Type.Optional(Type.String()),
  stderrBase64: Type.Optional(Type.String()),
});
export type RunAnswer = Static<typeof RunAnswer>;

/** The JSON answer of an invocation. */
export const InvocationAnswer = Type.Object({
  invocation: Type.String(),
  /** `team/service`. */
  service: Type.String(),
  plugin: Type.String(),
  /** Null when no worker was asked. */
  algorithm: Type.Union([Type.String(), Type.Null()]),
  /** The worst verdict and the largest exit code of the runs. */
  verdict: Type.String(),
  exitCode: Type.Integer(),
  /** Standard output of all runs; bytes that are no UTF-8 are replaced here and exact in `outputBase64`. */
  output: Type.String(),
  outputBase64: Type.Optional(Type.String()),
  stderr: Type.String(),
  /** Output was dropped, because it was more than an answer may hold. */
  truncated: Type.Optional(Type.Literal(true)),
  durationMs: Type.Number(),
  runs: Type.Array(RunAnswer),
});
export type InvocationAnswer = Static<typeof InvocationAnswer>;

/** How an invocation is spread, the first event of a live answer; again when a run moved to another worker. */
export const ManifestEvent = Type.Object({
  event: Type.Literal('manifest'),
  invocation: Type.String(),
  service: Type.String(),
  plugin: Type.String(),
  algorithm: Type.String(),
  attempt: Type.Integer(),
  expected: Type.Integer(),
  workers: Type.Array(Type.String()),
});
export type ManifestEvent = Static<typeof ManifestEvent>;

/** A piece of output, as text or, when it is no UTF-8, as base64. Characters are never cut. */
export const OutputEvent = Type.Object({
  event: Type.Literal('output'),
  worker: Type.String(),
  stream: Type.Union([Type.Literal('stdout'), Type.Literal('stderr')]),
  /** Number of the piece within its run. */
  sequence: Type.Integer(),
  data: Type.String(),
  /** Absent: `data` is text. */
  encoding: Type.Optional(Type.Literal('base64')),
});
export type OutputEvent = Static<typeof OutputEvent>;

/** One run has ended. */
export const VerdictEvent = Type.Object({ event: Type.Literal('verdict'), ...VERDICT });
export type VerdictEvent = Static<typeof VerdictEvent>;

/** The invocation has ended; the last event. */
export const DoneEvent = Type.Object({
  event: Type.Literal('done'),
  verdict: Type.String(),
  exitCode: Type.Integer(),
  runs: Type.Integer(),
  durationMs: Type.Number(),
  error: Code,
  detail: Type.String(),
  hint: Code,
});
export type DoneEvent = Static<typeof DoneEvent>;

/** Sent every 15 s over NDJSON, which knows no comments. */
export const PingEvent = Type.Object({ event: Type.Literal('ping') });
export type PingEvent = Static<typeof PingEvent>;

/** A line of a live answer. */
export const InvocationEvent = Type.Union([ManifestEvent, OutputEvent, VerdictEvent, DoneEvent, PingEvent]);
export type InvocationEvent = Static<typeof InvocationEvent>;
