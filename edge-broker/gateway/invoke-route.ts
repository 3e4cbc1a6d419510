import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import type { Outcome } from '../../protocol/outcome.ts';
import { statusOf } from './answer-status.ts';
import type { Budget } from './budget.ts';
import type { Call } from './call.ts';
import type { CallerSession, InvokeRequest } from './caller-session.ts';
import type { Callers } from './callers.ts';
import { bearerOf } from './guard.ts';
import { readInvokeRequest } from './invoke-request.ts';
import { JsonAnswer } from './json-answer.ts';
import { LiveAnswer } from './live-answer.ts';
import { type LiveFormat, liveFormatOf } from './live-format.ts';
import { problemOf, setProblemHeaders } from './problems.ts';

/** Largest body: a full payload as base64 with full arguments. */
export const BODY_BYTES: number = Math.ceil(LIMITS.payloadBytes / 3) * 4 + LIMITS.argsBytes + 4096;

const MAX_CALLS = 4096;
/** A reader that takes nothing of a finished answer for so long is gone. */
const STALL_MS = 60_000;

/** What the route works with. */
export interface InvokeParts {
  readonly callers: Callers;
  /** Bytes of request bodies. */
  readonly bodies: Budget;
  /** Bytes of output that is collected for JSON answers. */
  readonly outputs: Budget;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Bytes of the body that are held for this request. */
    heldBytes: number;
  }
}

interface InvokeParams {
  readonly team: string;
  readonly service: string;
}

/** `POST /v1/invoke/:team/:service`. */
export function registerInvoke(app: FastifyInstance, { callers, bodies, outputs }: InvokeParts): void {
  app.decorateRequest('heldBytes', 0);
  app.post<{ Params: InvokeParams; Querystring: Record<string, unknown>; Body: Buffer | undefined }>(
    '/v1/invoke/:team/:service',
    {
      config: { gatewayPolicy: 'invoke' },
      onRequest: async (request, reply) => {
        if (callers.calls >= MAX_CALLS) throw new TriggerFsError('TFS_BUSY', `${MAX_CALLS} invocations are open at this gateway`);
        reserve(request, reply, bodies);
      },
    },
    async (request, reply) => {
      assertPresent(reply);
      const body = request.body ?? Buffer.alloc(0);
      bodies.give(request.heldBytes - body.length);
      request.heldBytes = body.length;
      const contentType = request.headers['content-type'] ?? '';
      const invoke = readInvokeRequest({ ...request.params, query: request.query, contentType, body });
      const session = callers.session(bearerOf(request));
      // From here on the invocation's own time limit counts; a plugin that says nothing for minutes is no dead connection.
      request.raw.socket.setTimeout(0);
      const format = liveFormatOf(request.headers.accept);
      return format === null ? answerJson(reply, session, invoke, outputs) : answerLive(reply, session, invoke, format);
    },
  );
}

/** Makes room for the body before any of it is read. */
function reserve(request: FastifyRequest, reply: FastifyReply, bodies: Budget): void {
  assertPresent(reply);
  const announced = Number(request.headers['content-length']);
  const bytes = Number.isNaN(announced) ? BODY_BYTES : Math.min(announced, BODY_BYTES);
  if (!bodies.take(bytes)) throw new TriggerFsError('TFS_BUSY', 'the gateway holds too many requests at the moment');
  request.heldBytes = bytes;
  reply.raw.once('close', () => bodies.give(request.heldBytes));
}

async function answerJson(reply: FastifyReply, session: CallerSession, invoke: InvokeRequest, outputs: Budget): Promise<unknown> {
  const answer = new JsonAnswer(outputs);
  const call = session.start(invoke, answer);
  answer.attach(call);
  cancelOnAbort(reply, call);
  const outcome = await answer.outcome;
  reply.raw.socket?.setTimeout(STALL_MS);
  const body = answer.view(outcome, invoke.service, invoke.plugin);
  answer.release();
  reply.headers({
    'x-triggerfs-invocation': call.invocation,
    'x-triggerfs-verdict': outcome.verdict,
    'x-triggerfs-exit-code': String(outcome.exitCode),
    'cache-control': 'no-store',
  });
  const error = errorOf(outcome);
  if (error === null) return reply.code(statusOf(outcome)).type('application/json; charset=utf-8').send(body);
  const problem = problemOf(error);
  setProblemHeaders(reply, problem.status);
  return reply.send({ ...problem, ...body });
}

async function answerLive(reply: FastifyReply, session: CallerSession, invoke: InvokeRequest, format: LiveFormat): Promise<unknown> {
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

function errorOf({ verdict, error, detail }: Outcome): TriggerFsError | null {
  return error === null ? null : new TriggerFsError(error, detail || `the invocation ended with the verdict ${verdict}`);
}

function cancelOnAbort(reply: FastifyReply, call: Call): void {
  reply.raw.once('close', () => call.cancel());
}

/** Whoever has hung up gets nothing started; from here on, `close` is still to come. */
function assertPresent(reply: FastifyReply): void {
  if (reply.raw.destroyed) throw new TriggerFsError('TFS_CANCELLED', 'the caller is gone');
}
