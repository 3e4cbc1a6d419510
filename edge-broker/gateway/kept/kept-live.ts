import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { ERRORS, type ErrorCode, TriggerFsError } from '../../../protocol/errors.ts';
import type { KeptLine } from '../../../protocol/http/gateway-kept.ts';
import type { QueueResult } from '../../../protocol/http/queue.ts';
import type { LiveFormat } from '../live-format.ts';
import { type TextOrBase64, textOrBase64 } from '../output-text.ts';
import type { KeptOutput, KeptPiece } from './kept-output.ts';
import type { KeptPosition } from './kept-position.ts';
import type { KeptReader } from './kept-reader.ts';
import { hasEnded, type Kept, keptView } from './kept-store.ts';
import type { KeptWatch } from './kept-watch.ts';

const PING_MS = 15_000;
/** How long the history may take to have something of an invocation that the queue has the end of; beyond that it keeps nothing of it. */
const UNWRITTEN_MS = 1_500;
/** The same for the end of an invocation that it has the beginning of. */
const UNENDED_MS = 30_000;

/** What a live answer reads from. */
export interface KeptSources {
  readonly watch: KeptWatch;
  readonly output: KeptOutput;
  readonly reader: KeptReader;
}

/** An event and where a reader goes on after it. */
interface Step {
  readonly line: KeptLine;
  readonly id: string;
}

/** A live answer to send. */
export interface LiveKept {
  readonly kept: Kept;
  readonly team: string;
  readonly sources: KeptSources;
  readonly format: LiveFormat;
  readonly position: KeptPosition;
}

/**
 * Answers live about an accepted invocation: everything after a position, then what comes, to its end. Pieces are read when the
 * reader has taken those before, so a slow reader holds nothing; one that leaves changes nothing for the invocation.
 * @throws TriggerFsError TFS_NOT_KEPT when a reader comes back for output that the history has no more
 */
export async function sendLiveKept(reply: FastifyReply, live: LiveKept): Promise<FastifyReply> {
  const { kept, sources, format, position } = live;
  reply.header('cache-control', 'no-store');
  // Browsers connect again after every end; this tells them that there is nothing more.
  if (position.ended && position.attempt === kept.attempt && hasEnded(kept)) return reply.code(204).send();
  await assertResumable(sources, kept, position);
  reply.request.raw.socket.setTimeout(0);
  const leaving = new AbortController();
  const steps = follow(live, leaving.signal);
  // Who comes back may have to wait for the next event, but not for the head of the answer, which leaves with the first bytes.
  const stream = Readable.from(formatted(steps, format, position.attempt === kept.attempt), {
    objectMode: false,
    highWaterMark: 64 * 1024,
  });
  stream.once('close', () => leaving.abort());
  return reply.header('x-accel-buffering', 'no').type(format.contentType).send(stream);
}

async function assertResumable({ output }: KeptSources, kept: Kept, position: KeptPosition): Promise<void> {
  if (position.attempt !== kept.attempt || position.runs.size === 0 || kept.invocation === null) return;
  if (!hasEnded(kept) || (await output.state(kept.teamId, kept.invocation)) !== 'none') return;
  throw new TriggerFsError(
    'TFS_NOT_KEPT',
    `the output of invocation ${kept.id} is not kept any more; GET /v1/invocations/${kept.id} without Last-Event-ID tells how it ended`,
  );
}

async function* formatted(
  steps: AsyncGenerator<Step, void, undefined>,
  format: LiveFormat,
  greet: boolean,
): AsyncGenerator<string, void, undefined> {
  if (greet) yield format.ping;
  let next = steps.next();
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const quiet = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), PING_MS);
    });
    const step = await Promise.race([next, quiet]).finally(() => clearTimeout(timer));
    if (step === null) {
      yield format.ping;
      continue;
    }
    if (step.done === true) return;
    yield format.event(step.value.line, step.value.id);
    next = steps.next();
  }
}

async function* follow({ kept: first, team, sources, position }: LiveKept, signal: AbortSignal): AsyncGenerator<Step, void, undefined> {
  const { watch, output } = sources;
  let kept = first;
  let endedAt = hasEnded(first) ? performance.now() - sinceEnd(first) : Number.POSITIVE_INFINITY;
  while (!signal.aborted) {
    if (kept.attempt !== position.attempt) {
      position.begin(kept.attempt);
      yield { line: { event: 'invocation', ...keptView(kept, team) }, id: position.toString() };
    }
    // Looked at before the output is read: what is written by then is all of it.
    const written = hasEnded(kept) && (await isWritten(output, kept, endedAt));
    if (yield* pieces(output, kept, position)) continue;
    if (written) return yield* lastSteps(await sources.reader.result(kept), position);
    const before = kept;
    kept = (await watch.looked({ teamId: kept.teamId, id: kept.id }, PING_MS, signal)) ?? kept;
    // What the attempt before has printed to its end comes before the next one.
    if (kept.attempt !== before.attempt) yield* rest(output, before, position);
    if (hasEnded(kept)) endedAt = Math.min(endedAt, performance.now());
  }
}

function sinceEnd({ endedAt }: Kept): number {
  return endedAt === null ? 0 : Math.max(0, Date.now() - endedAt.getTime());
}

/** Whether the history has all of an invocation that has ended: it may be written a moment after the queue has the result. */
async function isWritten(output: KeptOutput, { teamId, invocation }: Kept, endedAt: number): Promise<boolean> {
  if (invocation === null) return true;
  const state = await output.state(teamId, invocation);
  const waited = performance.now() - endedAt;
  return state === 'ended' || waited > (state === 'open' ? UNENDED_MS : UNWRITTEN_MS);
}

/** What there is of an attempt that another one has followed. */
async function* rest(output: KeptOutput, before: Kept, position: KeptPosition): AsyncGenerator<Step, void, undefined> {
  while (yield* pieces(output, before, position));
}

/** The next output; false when there is none at the moment. */
async function* pieces(output: KeptOutput, { teamId, invocation }: Kept, position: KeptPosition): AsyncGenerator<Step, boolean, undefined> {
  const found = invocation === null ? [] : await output.next(teamId, invocation, position);
  for (const piece of found) {
    const line = lineOf(piece, position);
    position.advance(piece);
    if (line !== null) yield { line, id: position.toString() };
  }
  return found.length > 0;
}

function lineOf({ run, worker, attempt, stream, sequence, data }: KeptPiece, position: KeptPosition): KeptLine | null {
  if (data === null) return { event: 'gap', worker, attempt };
  return outputLine(worker, stream, sequence, position.text(run, stream).write(data));
}

function outputLine(worker: string, stream: 'stdout' | 'stderr', sequence: number, piece: TextOrBase64 | null): KeptLine | null {
  if (piece === null) return null;
  const encoded = piece.base64 === null ? { data: piece.text } : { data: piece.base64, encoding: 'base64' as const };
  return { event: 'output', worker, stream, sequence, ...encoded };
}

/** What is left of the output, the verdicts, and the end of all. */
function* lastSteps(result: QueueResult, position: KeptPosition): Generator<Step> {
  const { verdict, exitCode, error, detail, durationMs, runs } = result;
  for (const line of lastOutput(result, position)) yield { line, id: position.toString() };
  for (const run of runs.slice(position.verdicts)) {
    position.judged();
    yield { line: { event: 'verdict', ...run }, id: position.toString() };
  }
  position.end();
  const line = { event: 'done' as const, verdict, exitCode, runs: runs.length, durationMs, error, detail, hint: hintOf(error) };
  yield { line, id: position.toString() };
}

/** Characters that never became whole; and where the history has nothing, the end of the output, which the queue has. */
function* lastOutput({ runs, output, outputBase64, stderr, truncated }: QueueResult, position: KeptPosition): Generator<KeptLine> {
  const only = runs.length === 1 ? (runs[0]?.worker ?? '') : '';
  for (const { run, stream, text } of position.unfinished()) {
    const line = outputLine(position.worker(run) ?? only, stream, 0, text.end());
    if (line !== null) yield line;
  }
  if (position.tail || position.runs.size > 0) return;
  position.tellTail();
  if (truncated === true) yield { event: 'gap', worker: only, attempt: 0 };
  const stdout = outputBase64 === undefined ? output : Buffer.from(outputBase64, 'base64');
  for (const [stream, content] of [
    ['stdout', stdout],
    ['stderr', stderr],
  ] as const) {
    if (content.length > 0) yield outputLine(only, stream, 0, textOrBase64(Buffer.from(content))) as KeptLine;
  }
}

function hintOf(error: string | null): string | null {
  return error !== null && Object.hasOwn(ERRORS, error) ? ERRORS[error as ErrorCode].hint : null;
}
