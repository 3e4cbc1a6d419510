import type { FastifyReply } from 'fastify';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { HttpSettings } from '../../../protocol/http/gateway.ts';
import type { QueueResult } from '../../../protocol/http/queue.ts';
import { statusOf } from '../answer-status.ts';
import { errorOf, setOutcomeHeaders } from '../direct-answer.ts';
import { problemOf, setProblemHeaders } from '../problems.ts';
import { sendRaw } from '../raw-answer.ts';
import { type Kept, keptView } from './kept-store.ts';

/** An accepted invocation that has ended, as an answer needs it. */
export interface KeptEnd {
  readonly kept: Kept;
  readonly result: QueueResult;
  /** Name of the team that it belongs to. */
  readonly team: string;
  /** All of standard output, where more was printed than the result holds. */
  readonly stdout: Buffer;
  readonly truncated: boolean;
}

/** Answers as if the invocation had been run directly. `raw`: with what the plugin printed. */
export function sendKept(reply: FastifyReply, { kept, result, team, stdout, truncated }: KeptEnd, raw: HttpSettings | null): FastifyReply {
  const { verdict, exitCode, error, detail } = result;
  const outcome = { verdict, exitCode, detail, error: kept.error, runs: result.runs.length };
  setOutcomeHeaders(reply, kept.id, outcome);
  const { service, plugin } = keptView(kept, team);
  const body = { invocation: kept.id, service, plugin, algorithm: null, ...result };
  const failure = error === null ? null : errorOf(outcome);
  if (failure !== null) {
    const problem = problemOf(failure);
    setProblemHeaders(reply, problem.status);
    return reply.send({ ...problem, ...body });
  }
  if (raw !== null) return sendRaw(reply, raw, { exitCode, stdout, truncated });
  return reply.code(statusOf(outcome)).type('application/json; charset=utf-8').send(body);
}

/** The bytes of standard output that a result holds. */
export function stdoutOf({ output, outputBase64 }: QueueResult): Buffer {
  return outputBase64 === undefined ? Buffer.from(output) : Buffer.from(outputBase64, 'base64');
}

/** An invocation that ended before it had a result, such as a cancelled one. */
export function endWithoutResult({ verdict, exitCode, error, detail, state }: Kept): QueueResult {
  if (verdict === null) throw new TriggerFsError('TFS_INTERNAL', `the invocation is ${state}, but has no verdict`);
  return { verdict, exitCode: exitCode ?? 0, error, detail, output: '', stderr: '', durationMs: 0, runs: [] };
}
