import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import { type HttpSettings, METHODS } from '../../protocol/http/gateway.ts';
import type { Bearer } from './bearers.ts';
import { bodyOf, reserveBody } from './body-room.ts';
import type { Budget } from './budget.ts';
import type { InvokeRequest } from './caller-session.ts';
import type { Callers } from './callers.ts';
import { answerOptions } from './cors.ts';
import { answerLive, answerWhole } from './direct-answer.ts';
import type { Durable } from './durable.ts';
import type { Exposure } from './exposure.ts';
import { bearerOf } from './guard.ts';
import { readInvokeRequest, readMappedRequest } from './invoke-request.ts';
import { lastEventId, liveFormatOf, namesJson } from './live-format.ts';
import { idempotencyKey, parsePrefer } from './prefer.ts';
import { refuseMethod } from './problems.ts';

const MAX_CALLS = 4096;
/** Of an event of a live answer: the invocation, and whether that was the last one. */
const LIVE_ID = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(!)?$/i;

/** What the route works with. */
export interface InvokeParts {
  readonly callers: Callers;
  readonly exposure: Exposure;
  readonly durable: Durable;
  /** Bytes of request bodies. */
  readonly bodies: Budget;
  /** Bytes of bodies of who has no token: they cannot keep others out. */
  readonly strangers: Budget;
  /** Bytes of output that is collected for JSON answers. */
  readonly outputs: Budget;
}

interface InvokeParams {
  readonly team: string;
  readonly service: string;
}

type InvokeHttp = FastifyRequest<{ Params: InvokeParams; Querystring: Record<string, unknown> }>;

/** `/v1/invoke/:team/:service`, with the methods that the service allows. */
export function registerInvoke(app: FastifyInstance, parts: InvokeParts): void {
  const { callers, exposure } = parts;
  app.decorateRequest('heldBytes', 0);
  app.route<{ Params: InvokeParams; Querystring: Record<string, unknown> }>({
    method: [...METHODS],
    url: '/v1/invoke/:team/:service',
    config: { gatewayPolicy: 'invoke', cors: 'service' },
    onRequest: async (request, reply) => {
      if (callers.calls >= MAX_CALLS) throw new TriggerFsError('TFS_BUSY', `${MAX_CALLS} invocations are open at this gateway`);
      const { team, service } = request.params;
      const { methods } = exposure.settings(team, service, bearerOf(request).principal);
      const method = request.method === 'HEAD' ? 'GET' : request.method;
      if (!methods.includes(method as HttpSettings['methods'][number])) throw refuseMethod(request, reply, allowed(methods));
      reserveBody(request, reply, roomFor(bearerOf(request), parts));
    },
    handler: (request, reply) => invoke(request, reply, parts),
  });
  app.options<{ Params: InvokeParams }>('/v1/invoke/:team/:service', { config: { gatewayPolicy: 'public' } }, async (request, reply) => {
    const http = exposure.find(request.params.team, request.params.service)?.http ?? null;
    return answerOptions(request, reply.header('vary', 'origin'), http, allowed(http?.methods ?? ['POST']));
  });
}

async function invoke(request: InvokeHttp, reply: FastifyReply, parts: InvokeParts): Promise<FastifyReply> {
  const bearer = bearerOf(request);
  const body = bodyOf(request, roomFor(bearer, parts));
  const http = parts.exposure.settings(request.params.team, request.params.service, bearer.principal);
  const asked = read(request, bearer, http, body);
  // From here on the invocation's own time limit counts; a plugin that says nothing for minutes is no dead connection.
  request.raw.socket.setTimeout(0);
  const format = liveFormatOf(request.headers.accept);
  const raw = http.answer === 'raw' && !namesJson(request.headers.accept) ? http : null;
  const preference = parsePrefer(request.headers.prefer);
  const key = idempotencyKey(request.headers['idempotency-key']);
  if (preference.async || key !== null) {
    return parts.durable.answer({ request, reply, bearer, invoke: asked, preference, key, format, raw });
  }
  if (format !== null && request.headers['last-event-id'] !== undefined) return answerReturned(lastEventId(request.headers), reply);
  const call = { reply, session: parts.callers.session(bearer), invoke: asked };
  return format === null ? answerWhole(call, parts.outputs, raw) : answerLive(call, format);
}

/** A browser that lost a live answer connects again by itself, which must not run everything once more. @throws TriggerFsError TFS_NOT_KEPT */
function answerReturned(id: string, reply: FastifyReply): FastifyReply {
  const [, invocation, ended] = LIVE_ID.exec(id) ?? [];
  if (invocation === undefined) throw new TriggerFsError('TFS_BAD_REQUEST', 'Last-Event-ID takes the id of an event of this address');
  if (ended !== undefined) return reply.code(204).send();
  throw new TriggerFsError(
    'TFS_NOT_KEPT',
    `invocation ${invocation} was cancelled when its reader was gone, and is not run again; what it printed is at /v1/history/${invocation}/output of the API. ` +
      'Send Prefer: respond-async to follow one that goes on without its reader',
  );
}

function roomFor({ principal }: Bearer, { bodies, strangers }: InvokeParts): Budget {
  return principal.onlyService === null ? bodies : strangers;
}

/** A service with a plugin of its own maps requests to it, unless a caller with a token names one in the query. */
function read(request: InvokeHttp, { principal }: Bearer, http: HttpSettings, body: Buffer): InvokeRequest {
  const { params, query, headers } = request;
  const named = query.plugin !== undefined && principal.onlyService === null;
  if (http.plugin === null || named) {
    return readInvokeRequest({ ...params, query, contentType: headers['content-type'] ?? '', body });
  }
  const source = { method: request.method, query, headers, body, address: request.ip };
  return readMappedRequest({ ...params, plugin: http.plugin, mapping: http }, source);
}

function allowed(methods: readonly string[]): string[] {
  return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'];
}
