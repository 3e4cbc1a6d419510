import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { Principal } from '../auth/principal.ts';
import type { Services } from '../context.ts';
import { isStillAdmitted } from './admission.ts';
import { readRange } from './byte-range.ts';
import { timeOf } from './days.ts';
import { Download } from './download.ts';
import type { EventFormat } from './event-format.ts';
import { Follow, type FollowStep, type Look } from './follow.ts';
import { assertOutputKept } from './kept.ts';
import { OpenStreams } from './open-streams.ts';
import { readPage } from './page.ts';
import { Position } from './position.ts';
import { asWaiting, findQueued } from './queued.ts';
import { findInvocation, hasOutput, type InvocationRow, listRuns, noInvocation, type RunRow } from './repository.ts';
import { isFollowed } from './tail.ts';
import { Tails } from './tails.ts';

/** A reader that takes nothing of a download for so long is gone. */
const STALL_MS = 600_000;
const PING_MS = 15_000;
/** Brokers write four times a second. */
const UNWRITTEN_MS = 2_000;
const UNWRITTEN_LOOK_MS = 250;
/** Who loses the right to read is sent away within this time. */
const CHECK_MS = 4_000;
const MAX_OPEN = 500;
const CLOSE_GRACE_MS = 300;

/** What a request asks for. */
export interface Asked {
  readonly principal: Principal;
  readonly id: string;
  /** Null for all. */
  readonly worker: string | null;
  readonly stream: 'stdout' | 'stderr' | undefined;
}

/** Answers with output, and keeps those that are open. */
export class OutputAnswers {
  readonly #services: Services;
  readonly #tails: Tails;
  readonly #open = new OpenStreams(MAX_OPEN);

  constructor(services: Services) {
    this.#services = services;
    this.#tails = new Tails(services.database, services.log, services.historyMetrics);
  }

  /** Ends all answers. */
  async close(): Promise<void> {
    await this.#tails.stop();
    await this.#open.close(CLOSE_GRACE_MS);
  }

  /** The bytes. @throws TriggerFsError TFS_NOT_FOUND, TFS_NOT_KEPT, TFS_RANGE */
  async download(request: FastifyRequest, reply: FastifyReply, asked: Asked): Promise<FastifyReply> {
    this.#open.assertRoom();
    const found = await this.#find(asked);
    reply.headers({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="${fileName(asked)}"`,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'accept-ranges': 'bytes',
      'x-triggerfs-state': found === null ? 'accepted' : found.invocation.state,
    });
    // Before its turn there is no output, and of what never got one there is none.
    if (found === null) return reply.send(Buffer.alloc(0));
    const { database, teamKeys } = this.#services;
    const place = { teamId: asked.principal.teamId, id: asked.id, day: found.invocation.day };
    const download = await Download.open(database, teamKeys, { place, runs: found.runs, stream: asked.stream });
    if (download.gaps > 0) reply.header('x-triggerfs-gaps', download.gaps);
    request.raw.socket.setTimeout(STALL_MS);
    const wanted = header(request, 'range');
    // The size of one stream is known only after opening all of it, so it is counted only for those who need it.
    if (asked.stream !== undefined && wanted === undefined) return this.#send(reply, download, 0, Number.POSITIVE_INFINITY);
    const total = await download.total();
    const tag = `"${asked.worker ?? ''}-${asked.stream ?? ''}-${total}"`;
    reply.header('etag', tag);
    const condition = header(request, 'if-range');
    const range = condition === undefined || condition === tag ? readRange(wanted, total) : 'none';
    if (range === 'unsatisfiable') {
      reply.removeHeader('content-disposition').header('content-range', `bytes */${total}`);
      throw new TriggerFsError('TFS_RANGE', `there are ${total} bytes of output, and nothing of ${wanted}`);
    }
    const { start, end } = range === 'none' ? { start: 0, end: total } : range;
    reply.header('content-length', end - start);
    if (range !== 'none') reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${total}`);
    return this.#send(reply, download, start, end);
  }

  #send(reply: FastifyReply, download: Download, start: number, end: number): FastifyReply {
    return reply.send(this.#open.add(Readable.from(download.read({ start, end }), { objectMode: false })));
  }

  /** Everything as events, and on live. @throws TriggerFsError TFS_NOT_FOUND, TFS_NOT_KEPT, TFS_BAD_REQUEST for `after` */
  async events(
    request: FastifyRequest,
    reply: FastifyReply,
    asked: Asked,
    how: { readonly format: EventFormat; readonly live: boolean; readonly after: string },
  ): Promise<FastifyReply> {
    this.#open.assertRoom();
    const position = Position.parse(how.after);
    // Browsers connect again after every end; this tells them that there is nothing more.
    if (position.ended) return reply.code(204).send();
    const { principal, id, worker, stream } = asked;
    const tail = how.live ? this.#tails.join({ teamId: principal.teamId, id, worker }) : null;
    const look = (at: Position): Promise<Look | null> => this.#look(asked, at);
    try {
      const first = (await look(position)) ?? (await this.#awaitFirst(id, () => look(position)));
      if (first === null) throw noInvocation(id);
      if (first.page !== null) await this.#assertKept(asked, first.page.invocation, first.page.blocks.length > 0);
      const { database, teamKeys: keys, historyMetrics } = this.#services;
      const admitted = (): Promise<boolean> => isStillAdmitted(database, request, principal);
      const parts = { keys, teamId: principal.teamId, id, position, stream, look, tail, admitted, pingMs: PING_MS, checkMs: CHECK_MS };
      const body = this.#open.add(Readable.from(written(new Follow(parts).events(first), how.format), { objectMode: false }));
      historyMetrics?.followers(this.#open.size);
      body.once('close', () => {
        tail?.leave();
        historyMetrics?.followers(this.#open.size);
      });
      request.raw.socket.setTimeout(0);
      return reply.type(how.format.contentType).headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' }).send(body);
    } catch (error) {
      tail?.leave();
      throw error;
    }
  }

  /** Who follows an invocation from its first moment comes before brokers have written it down. */
  async #awaitFirst(id: string, look: () => Promise<Look | null>): Promise<Look | null> {
    const end = (timeOf(id) ?? 0) + UNWRITTEN_MS;
    for (let left = end - Date.now(); left > 0 && left <= UNWRITTEN_MS; left = end - Date.now()) {
      await sleep(UNWRITTEN_LOOK_MS);
      const found = await look();
      if (found !== null) return found;
    }
    return null;
  }

  async #look({ principal, id, worker }: Asked, position: Position): Promise<Look | null> {
    const { database } = this.#services;
    // Between the two reads it may begin, so the history has the last word.
    for (const last of [false, true]) {
      const page = await readPage(database, principal, { id, worker }, position);
      if (page !== undefined) return { page, waits: null };
      const waits = last ? undefined : await database.inTeam(principal.teamId, (tx) => findQueued(tx, principal, id));
      if (waits !== undefined) return { page: null, waits: waits.fresh ? asWaiting(waits) : waits };
    }
    return null;
  }

  #assertKept({ principal, id }: Asked, invocation: InvocationRow, seen: boolean): Promise<void> {
    return this.#services.database.inTeam(principal.teamId, async (tx) => {
      const kept = seen || (await hasOutput(tx, { teamId: principal.teamId, id, day: invocation.day }));
      await assertOutputKept(tx, principal, invocation, kept);
    });
  }

  /** Null: it waits in the queue, or never left it. */
  async #find(asked: Asked): Promise<{ invocation: InvocationRow; runs: RunRow[] } | null> {
    const { principal, id, worker } = asked;
    const found = await this.#services.database.inTeam(principal.teamId, async (tx) => {
      const invocation = await findInvocation(tx, principal, id);
      if (invocation === undefined) return (await findQueued(tx, principal, id)) === undefined ? undefined : null;
      const runs = await listRuns(tx, { teamId: principal.teamId, id, day: invocation.day });
      return { invocation, runs: runs.filter((run) => isFollowed(worker, run.worker)) };
    });
    if (found === undefined) throw noInvocation(id);
    if (found === null) return null;
    if (worker !== null && found.runs.length === 0) throw new TriggerFsError('TFS_NOT_FOUND', `the worker ${worker} has no run of ${id}`);
    await this.#assertKept(asked, found.invocation, false);
    return found;
  }
}

async function* written(steps: AsyncGenerator<FollowStep>, format: EventFormat): AsyncGenerator<string> {
  for await (const { event, cursor } of steps) yield event.event === 'ping' ? format.ping : format.event(event, cursor);
}

/** Names of workers are safe in a header. */
function fileName({ id, worker, stream }: Asked): string {
  const safe = worker === null ? null : worker.replaceAll(/[^\w.-]/g, '_');
  return `${[id, safe, stream].filter((part) => part !== null && part !== undefined).join('-')}.out`;
}

/** A header that comes once; undefined when there is none. */
export function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}
