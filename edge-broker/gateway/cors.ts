import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { HttpSettings } from '../../protocol/http/gateway.ts';
import { parseSource } from '../../protocol/http/gateway-source.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Web pages may call: those that the service lists, or (`any`) all, where the address itself is the secret. */
    cors?: 'service' | 'any';
  }
}

/** How a service is called, by the parameters of its address; null when there is none. */
export type SettingsOf = (params: { readonly team: string; readonly service: string }) => HttpSettings | null;

const REQUEST_HEADERS = 'accept, authorization, content-type, idempotency-key, last-event-id, prefer';
const EXPOSED =
  'content-range, location, preference-applied, retry-after, x-triggerfs-exit-code, x-triggerfs-invocation, x-triggerfs-verdict';
/** How long a browser remembers a preflight. */
const MAX_AGE_SECONDS = 600;

/** Lets browsers hand answers to pages of allowed origins, errors included: so it comes before everything that may refuse a request. */
export function registerCors(app: FastifyInstance, settingsOf: SettingsOf): void {
  app.addHook('onRequest', async (request, reply) => {
    const { cors } = request.routeOptions.config;
    if (cors === undefined) return;
    reply.header('vary', 'origin');
    const allowed = allowedOrigin(request, cors === 'any' ? 'any' : settingsOf(request.params as Parameters<SettingsOf>[0]));
    if (allowed === null) return;
    allow(reply, allowed);
    reply.header('access-control-expose-headers', EXPOSED);
  });
}

/** Answers a preflight, or another OPTIONS. @throws TriggerFsError TFS_FORBIDDEN for an origin that is not listed */
export function answerOptions(
  request: FastifyRequest,
  reply: FastifyReply,
  http: HttpSettings | 'any' | null,
  methods: readonly string[],
): FastifyReply {
  const { origin } = request.headers;
  reply.header('allow', methods.join(', '));
  if (origin !== undefined && request.headers['access-control-request-method'] !== undefined) {
    const allowed = allowedOrigin(request, http);
    if (allowed === null) throw new TriggerFsError('TFS_FORBIDDEN', `web pages of ${origin.slice(0, 200)} may not call this`);
    allow(reply, allowed);
    reply.headers({
      'access-control-allow-methods': methods.filter((method) => method !== 'OPTIONS').join(', '),
      'access-control-allow-headers': [REQUEST_HEADERS, ...mappedHeaders(http)].join(', '),
      'access-control-max-age': MAX_AGE_SECONDS,
    });
  }
  return reply.code(204).send();
}

/** Headers that the service reads arguments from. */
function mappedHeaders(http: HttpSettings | 'any' | null): string[] {
  if (http === 'any' || http === null) return [];
  const places = [http.payload, ...Object.values(http.args)].map((text) => parseSource(text)?.place);
  return [...new Set(places.flatMap((place) => (place?.from === 'header' ? place.name : [])))];
}

interface Allowed {
  readonly origin: string;
  readonly credentials: boolean;
}

/** `any`: every origin, without credentials; null: none. */
function allowedOrigin({ headers: { origin } }: FastifyRequest, http: HttpSettings | 'any' | null): Allowed | null {
  if (origin === undefined || http === null) return null;
  if (http === 'any') return { origin: '*', credentials: false };
  if (http.origins.includes(origin) && origin !== '*') return { origin, credentials: http.credentials };
  return http.origins.includes('*') ? { origin: '*', credentials: false } : null;
}

function allow(reply: FastifyReply, { origin, credentials }: Allowed): void {
  reply.header('access-control-allow-origin', origin);
  if (credentials) reply.header('access-control-allow-credentials', 'true');
}
