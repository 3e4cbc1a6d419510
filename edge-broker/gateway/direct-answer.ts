import type { FastifyReply } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { HttpSettings } from '../../protocol/http/gateway.ts';
import type { Outcome } from '../../protocol/outcome.ts';
import { statusOf } from './answer-status.ts';
import type { Budget } from './budget.ts';
import type { Call } from './call.ts';
import type { CallerSession, InvokeRequest } from './caller-session.ts';
import { JsonAnswer } from './json-answer.ts';
import { LiveAnswer } from './live-answer.ts';
import type { LiveFormat } from './live-format.ts';
import { problemOf, setProblemHeaders } from './problems.ts';
import { sendRaw } from './raw-answer.ts';

/** A reader that takes nothing of a finished answer for so long is gone. */
const STALL_MS = 60_000;

/** An invocation to run now, for who waits for it. */
export interface DirectCall {
  readonly reply: FastifyReply;
  readonly session: CallerSession;
  readonly invoke: InvokeRequest;
}

/** Runs an invocation and answers with all of it: as JSON, or (`raw`) with what the plugin printed. Hanging up cancels it. */
export async function answerWhole(
  { reply, session, invoke }: DirectCall,
  outputs: Budget,
  raw: HttpSettings | null,
  ended: (outcome: Outcome) => void = () => undefined,
): Promise<FastifyReply> {
  const answer = new JsonAnswer(outputs);
  const call = session.start(invoke, answer);
  answer.attach(call);
  cancelOnAbort(reply, call);
  const outcome = await answer.outcome;
  ended(outcome);
  reply.raw.socket?.setTimeout(STALL_MS);
  const body = answer.view(outcome, invoke.service, invoke.plugin);
  const { stdout, truncated } = answer;
  answer.release();
  setOutcomeHeaders(reply, call.invocation, outcome);
  const error = errorOf(outcome);
  if (error !== null) {
    const problem = problemOf(error);
    setProblemHeaders(reply, problem.status);
    return reply.send({ ...problem, ...body });
  }
  if (raw !== null) return sendRaw(reply, raw, { exitCode: outcome.exitCode, stdout, truncated });
  return reply.code(statusOf(outcome)).type('application/json; charset=utf-8').send(body);
}

/** Runs an invocation and answers with every event as it happens. Hanging up cancels it. */
export async function answerLive({ reply, session, invoke }: DirectCall, format: LiveFormat): Promise<FastifyReply> {
  const answer = new LiveAnswer(format, invoke.service, invoke.plugin);
  const call = session.start(invoke, answer);
  answer.attach(call);
  cancelOnAbort(reply, call);
  const ended = await answer.begun;
  reply.headers({ 'x-triggerfs-invocation': call.invocation, 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
  if (ended !== null) {
    reply.header('x-triggerfs-verdict', ended.verdict).header('x-triggerfs-exit-code', String(ended.exitCode));
    throw errorOf(ended) ?? new TriggerFsError('TFS_INTERNAL', `the invocation ended ${ended.verdict} without a worker`);
  }
  void answer.ended.then(() => reply.raw.socket?.setTimeout(STALL_MS));
  return reply.type(format.contentType).send(answer);
}

/** Headers that say how an invocation ended. */
export function setOutcomeHeaders(
  reply: FastifyReply,
  invocation: string,
  { verdict, exitCode }: Pick<Outcome, 'verdict' | 'exitCode'>,
): void {
  reply.headers({
    'x-triggerfs-invocation': invocation,
    'x-triggerfs-verdict': verdict,
    'x-triggerfs-exit-code': String(exitCode),
    'cache-control': 'no-store',
  });
}

/** The error that an invocation ended with; null when its plugin ended by itself. */
export function errorOf({ verdict, error, detail }: Pick<Outcome, 'verdict' | 'error' | 'detail'>): TriggerFsError | null {
  return error === null ? null : new TriggerFsError(error, detail || `the invocation ended with the verdict ${verdict}`);
}

function cancelOnAbort(reply: FastifyReply, call: Call): void {
  reply.raw.once('close', () => call.cancel());
}
