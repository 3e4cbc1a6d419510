import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../../protocol/errors.ts';
import { LIMITS } from '../../../protocol/limits.ts';
import type { Outcome } from '../../../protocol/outcome.ts';
import type { Directory } from '../../directory/directory.ts';
import type { HookConfig, ServiceConfig } from '../../directory/team.ts';
import type { AnonymousCallers } from '../anonymous.ts';
import type { Bearer } from '../bearers.ts';
import { bodyOf, reserveBody } from '../body-room.ts';
import type { Budget } from '../budget.ts';
import type { InvokeRequest } from '../caller-session.ts';
import type { Callers } from '../callers.ts';
import { answerWhole } from '../direct-answer.ts';
import type { Durable } from '../durable.ts';
import type { Exposure } from '../exposure.ts';
import type { Disbelief, GatewayCounters } from '../gateway-counters.ts';
import { readMappedRequest } from '../invoke-request.ts';
import { translate } from '../problems.ts';
import type { Deliveries } from './deliveries.ts';
import { greetingOf } from './greeting.ts';
import type { HookSecrets } from './hook-secrets.ts';
import { expectationOf } from './schemes.ts';
import { checkSignature, type Delivery, type Signed } from './signature.ts';

/** What the route works with. */
export interface HookParts {
  readonly directory: Directory;
  readonly exposure: Exposure;
  readonly anonymous: AnonymousCallers;
  readonly callers: Callers;
  readonly durable: Durable;
  readonly secrets: HookSecrets;
  readonly deliveries: Deliveries;
  /** Bytes of bodies of who has no token. */
  readonly strangers: Budget;
  readonly outputs: Budget;
  readonly counters: GatewayCounters;
}

interface HookParams {
  readonly team: string;
  readonly hook: string;
}

type HookRequest = FastifyRequest<{ Params: HookParams; Querystring: Record<string, unknown> }>;

interface Verified {
  readonly hook: HookConfig;
  readonly service: ServiceConfig;
  readonly signed: Signed;
  readonly delivery: Delivery;
}

/** `POST /v1/hooks/:team/:hook`: webhooks, which prove by their signature who sent them. */
export function registerHooks(app: FastifyInstance, parts: HookParts): void {
  app.post<{ Params: HookParams; Querystring: Record<string, unknown> }>(
    '/v1/hooks/:team/:hook',
    {
      config: { gatewayPolicy: 'signed' },
      bodyLimit: LIMITS.payloadBytes,
      onRequest: async (request, reply) => reserveBody(request, reply, parts.strangers),
      onError: async (_request, _reply, error) => parts.counters.hookRefused(reasonOf(error)),
    },
    async (request, reply) => {
      const verified = await verify(request, parts);
      const greeting = greetingOf(verified.hook.settings, verified.delivery);
      if (greeting !== null) {
        parts.counters.hookTaken('greeted');
        return reply.type('application/json; charset=utf-8').send(greeting);
      }
      return verified.hook.settings.mode === 'async' ? keep(request, reply, verified, parts) : run(request, reply, verified, parts);
    },
  );
}

/** A wrong signature and a hook that is not there look the same. @throws TriggerFsError TFS_BAD_SIGNATURE */
async function verify(request: HookRequest, { directory, exposure, secrets, strangers }: HookParts): Promise<Verified> {
  let disbelief: Disbelief = 'unknown';
  const { team, hook: name } = request.params;
  const body = bodyOf(request, strangers);
  const hook = directory.teamNamed(team)?.hooks.get(name.toLowerCase());
  const service = hook === undefined ? null : exposure.byKey(hook.teamId, hook.service);
  const delivery = { headers: request.headers, body, url: urlOf(request), receivedAt: Date.now() };
  if (hook !== undefined && service !== null) {
    const good = await secrets.of(hook, delivery.receivedAt);
    const signed = checkSignature(expectationOf(delivery, hook.settings), good, delivery.receivedAt, hook.settings.toleranceMs);
    if (typeof signed === 'object') return { hook, service, signed, delivery };
    request.log.info({ team, hook: hook.name, reason: signed, secrets: good.length }, 'a webhook was not believed');
    if (signed === 'stale') throw new DisbelievedError('the signature is good, but its time is too far away', signed);
    disbelief = signed;
  }
  throw new DisbelievedError('the signature is missing or wrong, or there is no such hook', disbelief);
}

/** A webhook that is not believed; why, is for the operator. */
class DisbelievedError extends TriggerFsError {
  readonly disbelief: Disbelief;

  constructor(message: string, disbelief: Disbelief) {
    super('TFS_BAD_SIGNATURE', message);
    this.disbelief = disbelief;
  }
}

function reasonOf(error: Error): string {
  return error instanceof DisbelievedError ? error.disbelief : translate(error).code;
}

/** Answers once the delivery is committed; the same one again is answered with the same invocation. */
async function keep(
  request: HookRequest,
  reply: FastifyReply,
  verified: Verified,
  { durable, anonymous, counters }: HookParts,
): Promise<FastifyReply> {
  const { hook, service, signed } = verified;
  const invoke = read(request, verified);
  const item = {
    team: hook.teamId,
    source: 'webhook' as const,
    caller: hook.name,
    service: service.name,
    plugin: invoke.plugin,
    args: invoke.args,
    payload: invoke.payload,
    // No key of a caller has a blank.
    ...(signed.identity === null ? {} : { idempotencyKey: `hook ${hook.id} ${signed.identity}` }),
  };
  const accepted = await durable.accept(item, anonymous.hook(service, hook.name), invoke);
  counters.hookTaken(accepted.existing ? 'repeated' : 'kept');
  reply.headers({ 'x-triggerfs-invocation': accepted.id, location: `/v1/invocations/${accepted.id}`, 'cache-control': 'no-store' });
  return reply.code(202).type('application/json; charset=utf-8').send(accepted);
}

/** Runs the delivery and answers as the service does. */
async function run(request: HookRequest, reply: FastifyReply, verified: Verified, parts: HookParts): Promise<FastifyReply> {
  const { hook, service, signed } = verified;
  const { deliveries, callers, anonymous, outputs, counters } = parts;
  const invoke = read(request, verified);
  const { identity } = signed;
  if (identity !== null) await deliveries.note(hook, identity);
  request.raw.socket.setTimeout(0);
  const bearer: Bearer = anonymous.hook(service, hook.name);
  const ended = (outcome: Outcome): void => {
    if (identity === null || outcome.runs > 0) return;
    deliveries.forget(hook, identity).catch((err: unknown) => request.log.warn({ err }, 'a delivery that did not run counts as delivered'));
  };
  const raw = service.http.answer === 'raw' ? service.http : null;
  const session = callers.session(bearer);
  counters.hookTaken('ran');
  return answerWhole({ reply, session, invoke }, outputs, raw, ended);
}

function read(request: HookRequest, { hook, service, delivery }: Verified): InvokeRequest {
  const plugin = hook.settings.plugin ?? service.http.plugin;
  if (plugin === null) throw new TriggerFsError('TFS_UNKNOWN_PLUGIN', `neither the hook ${hook.name} nor its service names a plugin`);
  const { team } = request.params;
  const source = { method: request.method, query: request.query, headers: request.headers, body: delivery.body, address: request.ip };
  return readMappedRequest({ team, service: service.name, plugin, mapping: hook.settings }, source);
}

/** The address that the sender asked for; `request.host` and `protocol` are those of a proxy only where it is trusted. */
function urlOf({ protocol, host, raw }: HookRequest): string {
  const url = `${protocol}://${host}${raw.url ?? ''}`;
  return URL.canParse(url) ? url : `http://unknown${raw.url ?? ''}`;
}
