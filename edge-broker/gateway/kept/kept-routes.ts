import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { KeptInvocation } from '../../../protocol/http/gateway-kept.ts';
import type { Directory } from '../../directory/directory.ts';
import { answerOptions } from '../cors.ts';
import { goneSignal } from '../durable.ts';
import { lastEventId, liveFormatOf } from '../live-format.ts';
import { appliedPreference, parsePrefer } from '../prefer.ts';
import type { KeptKeys } from './kept-keys.ts';
import { type KeptSources, sendLiveKept } from './kept-live.ts';
import { KeptPosition } from './kept-position.ts';
import { hasEnded, type Kept, type KeptStore, keptView } from './kept-store.ts';

/** What the routes work with. */
export interface KeptParts {
  readonly store: KeptStore;
  readonly sources: KeptSources;
  readonly keys: KeptKeys;
  readonly directory: Directory;
}

type KeptRequest = FastifyRequest<{ Params: { readonly id: string }; Querystring: Readonly<Record<string, unknown>> }>;

interface Found {
  readonly kept: Kept;
  readonly team: string;
}

const METHODS = ['GET', 'HEAD', 'OPTIONS'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const RETRY_AFTER_SECONDS = 1;

/** `GET /v1/invocations/:id`, live too, and `.../output`: what became of invocations that were answered 202. */
export function registerKept(app: FastifyInstance, parts: KeptParts): void {
  const options = { config: { gatewayPolicy: 'kept' as const, cors: 'any' as const } };
  app.get('/v1/invocations/:id', options, async (request: KeptRequest, reply) => {
    const found = await find(request, parts);
    const format = liveFormatOf(request.headers.accept);
    if (format === null) return sendView(request, reply, found, parts);
    return sendLiveKept(reply, { ...found, sources: parts.sources, format, position: placeOf(request) });
  });
  app.get('/v1/invocations/:id/output', options, async (request: KeptRequest, reply) => {
    const { kept } = await find(request, parts);
    const { stream = 'stdout' } = request.query;
    if (stream !== 'stdout' && stream !== 'stderr') throw new TriggerFsError('TFS_BAD_REQUEST', 'stream is stdout or stderr');
    if (kept.invocation === null) throw new TriggerFsError('TFS_NOT_FOUND', `invocation ${kept.id} has not run yet`);
    request.raw.socket.setTimeout(0);
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    const bytes = parts.sources.output.bytes(kept.teamId, kept.invocation, stream);
    return reply.type('application/octet-stream').send(Readable.from(bytes, { objectMode: false }));
  });
  for (const url of ['/v1/invocations/:id', '/v1/invocations/:id/output']) {
    app.options(url, { config: { gatewayPolicy: 'public' } }, async (request, reply) => answerOptions(request, reply, 'any', METHODS));
  }
}

/** Where a reader goes on: after the event of a Last-Event-ID, or of `?after=` for who cannot send headers. @throws TriggerFsError TFS_BAD_REQUEST */
function placeOf({ headers, query: { after } }: KeptRequest): KeptPosition {
  if (after !== undefined && typeof after !== 'string') throw new TriggerFsError('TFS_BAD_REQUEST', 'after is in the query twice');
  return KeptPosition.parse(after ?? lastEventId(headers));
}

/** Waits for the end when `Prefer: wait=N` asks for that. */
async function sendView(
  request: KeptRequest,
  reply: FastifyReply,
  { kept: first, team }: Found,
  { sources }: KeptParts,
): Promise<FastifyReply> {
  const { waitMs } = parsePrefer(request.headers.prefer);
  let kept = first;
  if (waitMs > 0) {
    reply.header('preference-applied', appliedPreference({ async: false, waitMs }));
    request.raw.socket.setTimeout(0);
    if (!hasEnded(kept)) kept = (await sources.watch.ended({ teamId: kept.teamId, id: kept.id }, waitMs, goneSignal(reply))) ?? kept;
  }
  const ended = hasEnded(kept);
  if (!ended) reply.header('retry-after', RETRY_AFTER_SECONDS);
  const body: KeptInvocation = { ...keptView(kept, team), result: ended ? await sources.reader.result(kept) : null };
  return reply.header('cache-control', 'no-store').type('application/json; charset=utf-8').send(body);
}

/** Callers see what they asked for themselves, admins of the team all of it. What is not theirs looks like what is not there. */
async function find(request: KeptRequest, { store, keys, directory }: KeptParts): Promise<Found> {
  const { id } = request.params;
  const nothing = new TriggerFsError('TFS_NOT_FOUND', `there is no invocation ${JSON.stringify(id.slice(0, 64))} of this caller`);
  if (!UUID.test(id)) throw nothing;
  const principal = request.bearer?.principal ?? null;
  const teamId = principal?.teamId ?? Number(request.query.team);
  const team = Number.isSafeInteger(teamId) ? directory.team(teamId) : undefined;
  if (team === undefined || (principal === null && !(await keys.isKey(team.id, id, request.query.key)))) throw nothing;
  const [kept] = await store.find([{ teamId: team.id, id }]);
  if (kept === undefined) throw nothing;
  if (principal === null) return { kept, team: team.name };
  const role = team.members.get(principal.subject)?.role;
  const mine = kept.caller === principal.identity && (kept.source === 'http' || kept.source === 'client' || kept.source === 'api');
  if (!mine && role !== 'owner' && role !== 'admin') throw nothing;
  return { kept, team: team.name };
}
