import type { FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { HttpSettings } from '../../protocol/http/gateway.ts';
import type { KeptAccepted } from '../../protocol/http/gateway-kept.ts';
import type { Acceptor } from '../../runtime/acceptance/acceptor.ts';
import type { NewItem } from '../../runtime/acceptance/new-item.ts';
import { networkOf } from '../../runtime/network.ts';
import { timeoutOf } from '../directory/directory.ts';
import type { Resolver } from '../dispatch/resolver.ts';
import { RouteEntry } from '../dispatch/route-entry.ts';
import type { Bearer } from './bearers.ts';
import type { InvokeRequest } from './caller-session.ts';
import { sendKept } from './kept/kept-answer.ts';
import type { KeptKeys } from './kept/kept-keys.ts';
import { type KeptSources, sendLiveKept } from './kept/kept-live.ts';
import { KeptPosition } from './kept/kept-position.ts';
import { hasEnded, type Kept, type KeptReference, type KeptStore } from './kept/kept-store.ts';
import { type LiveFormat, lastEventId } from './live-format.ts';
import { appliedPreference, type Preference } from './prefer.ts';

/** Beyond the time limit of the run: for the queue to take it and to write its end. */
const QUEUE_MARGIN_MS = 30_000;

/** A request whose invocation is kept before it runs. */
export interface DurableRequest {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly bearer: Bearer;
  readonly invoke: InvokeRequest;
  readonly preference: Preference;
  /** Idempotency key; null for none. */
  readonly key: string | null;
  readonly format: LiveFormat | null;
  readonly raw: HttpSettings | null;
}

/** What it works with. */
export interface DurableParts {
  readonly resolver: Resolver;
  readonly acceptor: Pick<Acceptor, 'accept'>;
  readonly store: KeptStore;
  readonly sources: KeptSources;
  readonly keys: KeptKeys;
}

/**
 * Invocations that are committed before they are answered: `Prefer: respond-async` is answered 202, an `Idempotency-Key` with the end of the
 * one invocation that the key stands for. Whoever hangs up cancels nothing.
 */
export class Durable {
  readonly #parts: DurableParts;

  constructor(parts: DurableParts) {
    this.#parts = parts;
  }

  /** @throws TriggerFsError what the resolver denies, TFS_CONFLICT (the key belongs to another request), TFS_NOT_KEPT, TFS_UNAVAILABLE, TFS_TIMEOUT */
  async answer(asked: DurableRequest): Promise<FastifyReply> {
    const { reply, bearer, invoke, preference, format, raw } = asked;
    const { principal } = bearer;
    const timeoutMs = this.#admit(bearer, invoke, !preference.async && format !== null);
    const { id, existing } = await this.#parts.acceptor.accept(itemOf(asked, timeoutMs));
    const reference = { teamId: principal.teamId, id };
    reply.headers({ location: await this.#parts.keys.location(bearer, id), 'cache-control': 'no-store', 'x-triggerfs-invocation': id });
    const applied = appliedPreference(preference);
    if (applied !== '') reply.header('preference-applied', applied);
    const first = await this.#known(reference, existing);
    if (preference.async && preference.waitMs === 0) return sendAccepted(reply, id, first, existing);
    if (!preference.async && format !== null) return this.#sendLive(asked, reference, format);
    const limitMs = preference.async ? preference.waitMs : timeoutMs + QUEUE_MARGIN_MS;
    const kept = first !== null && hasEnded(first) ? first : await this.#parts.sources.watch.ended(reference, limitMs, goneSignal(reply));
    if (kept !== null) return this.#sendEnd(reply, kept, principal.team, raw);
    if (preference.async) return sendAccepted(reply, id, first, existing);
    throw new TriggerFsError('TFS_TIMEOUT', `invocation ${id} has not ended yet; it goes on, and its address tells how it ends`);
  }

  /** Accepts what a webhook delivered; the same delivery again is the same invocation. */
  async accept(item: NewItem, bearer: Bearer, invoke: InvokeRequest): Promise<KeptAccepted> {
    this.#admit(bearer, invoke, false);
    const { id, existing } = await this.#parts.acceptor.accept(item);
    const known = await this.#known({ teamId: item.team, id }, existing);
    return { id, state: known?.state ?? 'queued', existing };
  }

  /** Looks at the caller's rights; returns the time limit of a run. */
  #admit({ principal }: Bearer, { service, plugin, args, timeoutMs }: InvokeRequest, live: boolean): number {
    const target = this.#parts.resolver.resolve(new RouteEntry(principal, { service, plugin, args }, true));
    if (target.denied !== null) throw new TriggerFsError(target.denied.code, target.denied.message);
    const { config } = target.service;
    if (live && config.history !== 'output')
      throw new TriggerFsError(
        'TFS_NOT_KEPT',
        `an Idempotency-Key with a live answer needs the output that service ${config.name} does not keep`,
      );
    return timeoutOf(config, timeoutMs);
  }

  /** One that was accepted before may have ended long ago. */
  async #known(reference: KeptReference, existing: boolean): Promise<Kept | null> {
    return existing ? ((await this.#parts.store.find([reference]))[0] ?? null) : null;
  }

  async #sendEnd(reply: FastifyReply, kept: Kept, team: string, raw: HttpSettings | null): Promise<FastifyReply> {
    return sendKept(reply, await this.#parts.sources.reader.end(kept, team, raw !== null), raw);
  }

  async #sendLive({ request, reply, bearer }: DurableRequest, reference: KeptReference, format: LiveFormat): Promise<FastifyReply> {
    const [kept] = await this.#parts.store.find([reference]);
    if (kept === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `invocation ${reference.id} is not known any more`);
    const position = KeptPosition.parse(lastEventId(request.headers));
    return sendLiveKept(reply, { kept, team: bearer.principal.team, sources: this.#parts.sources, format, position });
  }
}

function sendAccepted(reply: FastifyReply, id: string, kept: Kept | null, existing: boolean): FastifyReply {
  const body: KeptAccepted = { id, state: kept?.state ?? 'queued', existing };
  return reply.code(202).type('application/json; charset=utf-8').send(body);
}

/** Ends with the connection. */
export function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return gone.signal;
}

/** Who waits for the answer does not wait for a worker that comes tomorrow. */
function itemOf({ request, bearer, invoke, preference, key }: DurableRequest, timeoutMs: number): NewItem {
  const { principal } = bearer;
  const [team, service] = invoke.service.split('/') as [string, string];
  return {
    team: principal.teamId,
    source: 'http',
    caller: principal.identity,
    service: team.toLowerCase() === principal.team.toLowerCase() ? service : invoke.service,
    plugin: invoke.plugin,
    args: invoke.args,
    payload: invoke.payload,
    ...(invoke.timeoutMs === 0 ? {} : { timeoutMs: invoke.timeoutMs }),
    ...(preference.async ? {} : { maxAgeMs: timeoutMs + QUEUE_MARGIN_MS }),
    ...(key === null ? {} : { idempotencyKey: principal.kind === 'anonymous' ? anonymousKey(principal.sessionId, request.ip, key) : key }),
  };
}

/** Strangers do not share keys with each other, nor with the team: a key with a blank is nobody else's. */
function anonymousKey(session: string, address: string, key: string): string {
  return `${session} ${networkOf(address)} ${key}`;
}
