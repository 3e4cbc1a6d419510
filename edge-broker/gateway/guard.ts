import type { FastifyInstance, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { AnonymousCallers } from './anonymous.ts';
import type { Bearer, Bearers } from './bearers.ts';

/**
 * Who may call a route: everyone; `invoke`: users and API tokens (what they may invoke, the broker decides), and everyone where a service
 * needs no token; `signed`: senders of webhooks, whose signature the route checks; `kept`: users, API tokens, and who has the key of an address.
 */
const POLICIES = ['public', 'invoke', 'signed', 'kept'] as const;
export type GatewayPolicy = (typeof POLICIES)[number];

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route of the gateway. */
    gatewayPolicy?: GatewayPolicy;
  }
  interface FastifyRequest {
    bearer: Bearer | null;
  }
}

const REFRESH_MS = 500;

/** What the guard knows callers by. */
export interface GuardParts {
  readonly bearers: Bearers;
  readonly anonymous: AnonymousCallers;
  /** Reads the configuration again and says whether it did: a token may be younger than what this broker knows. */
  readonly refresh: () => Promise<boolean>;
}

/** Deny by default: refuses to register a route that declares no policy, and knows the caller before a body is read. */
export function registerGuard(app: FastifyInstance, { bearers, anonymous, refresh }: GuardParts): void {
  app.decorateRequest('bearer', null);
  app.addHook('onRoute', (route) => {
    const policy = route.config?.gatewayPolicy;
    if (policy === undefined || !POLICIES.includes(policy)) throw new Error(`the route ${route.method} ${route.url} declares no policy`);
  });
  app.addHook('onRequest', async (request) => {
    const policy = request.routeOptions.config.gatewayPolicy;
    if (request.is404 || policy === 'public' || policy === 'signed') return;
    request.bearer = withoutToken(request, policy, anonymous);
    if (request.bearer !== null || hasKey(request, policy)) return;
    request.bearer = await authenticate(request, bearers, refresh);
    const { kind } = request.bearer.principal;
    if (kind === 'worker' || kind === 'system') throw new TriggerFsError('TFS_FORBIDDEN', `a ${kind} may not call services`);
  });
}

/** A token that was given counts, also where none is needed: a wrong one must not pass for none. */
function withoutToken(
  { headers, params, ip }: FastifyRequest,
  policy: GatewayPolicy | undefined,
  anonymous: AnonymousCallers,
): Bearer | null {
  if (policy !== 'invoke' || headers.authorization !== undefined) return null;
  const { team, service } = params as Readonly<Record<string, string>>;
  return team === undefined || service === undefined ? null : anonymous.admit(team, service, ip);
}

/** The route looks at the key. */
function hasKey({ headers, query }: FastifyRequest, policy: GatewayPolicy | undefined): boolean {
  return policy === 'kept' && headers.authorization === undefined && Object.hasOwn(query as object, 'key');
}

/** Who makes the request; only in routes that are not public. */
export function bearerOf(request: FastifyRequest): Bearer {
  if (request.bearer === null) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the request has no bearer token');
  return request.bearer;
}

async function authenticate(request: FastifyRequest, bearers: Bearers, refresh: () => Promise<boolean>): Promise<Bearer> {
  const { authorization } = request.headers;
  try {
    return bearers.authenticate(authorization);
  } catch (error) {
    const late = authorization !== undefined && error instanceof TriggerFsError && error.code === 'TFS_UNAUTHENTICATED';
    if (!late || !(await within(REFRESH_MS, refresh()))) throw error;
  }
  return bearers.authenticate(authorization);
}

async function within(limitMs: number, refreshed: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  try {
    return await Promise.race([refreshed, limit]);
  } finally {
    clearTimeout(timer);
  }
}
