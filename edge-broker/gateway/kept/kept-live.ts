import { Readable } from 'node:stream';
import { ERRORS, type ErrorCode } from '../../../protocol/errors.ts';
import type { KeptLine } from '../../../protocol/http/gateway-kept.ts';
import type { QueueResult } from '../../../protocol/http/queue.ts';
import type { LiveFormat } from '../live-format.ts';
import { OutputText } from '../output-text.ts';
import type { KeptOutput, KeptPiece, OutputPosition } from './kept-output.ts';
import type { KeptReader } from './kept-reader.ts';
import { hasEnded, type Kept, keptView } from './kept-store.ts';
import type { KeptWatch } from './kept-watch.ts';

const PING_MS = 15_000;
/** The history may be written a moment after the queue has the result. */
const LAST_LOOKS = 3;

/** What a live answer reads from. */
export interface KeptSources {
  readonly watch: KeptWatch;
  readonly output: KeptOutput;
  readonly reader: KeptReader;
}

/**
 * The body of a live answer about an accepted invocation: everything from its first byte, then what comes, to its end. Pieces are
 * read when the reader has taken those before, so a slow reader holds nothing; one that leaves changes nothing for the invocation.
 */
export function liveKept(sources: KeptSources, kept: Kept, team: string, format: LiveFormat): Readable {
  const leaving = new AbortController();
  const lines = follow(sources, kept, team, leaving.signal);
  const stream = Readable.from(formatted(lines, format), { objectMode: false, highWaterMark: 64 * 1024 });
  stream.once('close', () => leaving.abort());
  return stream;
}

async function* formatted(lines: AsyncGenerator<KeptLine, void, undefined>, format: LiveFormat): AsyncGenerator<string, void, undefined> {
  let next = lines.next();
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
    yield format.event(step.value);
    next = lines.next();
  }
}

async function* follow(sources: KeptSources, first: Kept, team: string, signal: AbortSignal): AsyncGenerator<KeptLine, void, undefined> {
  const { watch, output, reader } = sources;
  let [kept, attempt] = [first, -1];
  let texts = new Map<string, OutputText>();
  let position: OutputPosition = new Map();
  let quiet = 0;
  while (!signal.aborted) {
    if (kept.attempt !== attempt) {
      yield { event: 'invocation', ...keptView(kept, team) };
      [attempt, texts, position] = [kept.attempt, new Map(), new Map()];
    }
    const ended = hasEnded(kept);
    const pieces = kept.invocation === null ? [] : await output.next(kept.teamId, kept.invocation, position);
    for (const piece of pieces) yield* linesOf(piece, texts);
    if (pieces.length > 0) continue;
    quiet += 1;
    if (ended && (quiet > LAST_LOOKS || kept.invocation === null)) return yield* lastLines(await reader.result(kept), texts);
    if (!ended) quiet = 0;
    kept = (await watch.looked({ teamId: kept.teamId, id: kept.id }, PING_MS, signal)) ?? kept;
  }
}

function* linesOf({ worker, attempt, gap, stream, sequence, data }: KeptPiece, texts: Map<string, OutputText>): Generator<KeptLine> {
  if (gap) yield { event: 'gap', worker, attempt };
  const key = `${stream} ${worker} ${attempt}`;
  const text = texts.get(key) ?? new OutputText();
  texts.set(key, text);
  const piece = text.write(data);
  if (piece === null) return;
  const encoded = piece.base64 === null ? { data: piece.text } : { data: piece.base64, encoding: 'base64' as const };
  yield { event: 'output', worker, stream, sequence, ...encoded };
}

function* lastLines(
  { verdict, exitCode, error, detail, durationMs, runs }: QueueResult,
  texts: Map<string, OutputText>,
): Generator<KeptLine> {
  for (const [key, text] of texts) {
    const rest = text.end();
    const [stream = '', worker = ''] = key.split(' ');
    if (rest?.base64 != null)
      yield { event: 'output', worker, stream: stream as 'stdout', sequence: 0, data: rest.base64, encoding: 'base64' };
  }
  for (const run of runs) yield { event: 'verdict', ...run };
  yield { event: 'done', verdict, exitCode, runs: runs.length, durationMs, error, detail, hint: hintOf(error) };
}

function hintOf(error: string | null): string | null {
  return error !== null && Object.hasOwn(ERRORS, error) ? ERRORS[error as ErrorCode].hint : null;
}
