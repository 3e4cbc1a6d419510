import { ERRORS } from '../../protocol/errors.ts';
import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';
import { formatDuration } from '../../protocol/quantity.ts';
import { timestamp } from '../../runtime/timestamp.ts';
import type { OutputChunk } from '../invocation.ts';
import { LinePrinter } from './line-printer.ts';
import type { Order } from './options.ts';
import type { Sink } from './sink.ts';

/** Shows an invocation while it runs. */
export interface Screen {
  manifest(manifest: Manifest): void;
  output(chunk: OutputChunk): void;
  verdict(verdict: RunVerdict): void;
  done(outcome: Outcome, elapsedMs: number): void;
}

/** The documented screen: a first line, prefixed output, the exit code, the number of lines and the time. */
export class TextScreen implements Screen {
  readonly #order: Order;
  readonly #out: Sink;
  readonly #err: Sink;
  readonly #printer: LinePrinter;
  readonly #program: string;
  #begun = false;
  #several = false;

  /** `program` signs error lines. */
  constructor(order: Order, out: Sink, err: Sink, colour: boolean, program = 'triggerfs-client') {
    this.#program = program;
    this.#order = order;
    this.#out = out;
    this.#err = err;
    this.#printer = new LinePrinter(out, err, colour);
  }

  manifest(manifest: Manifest): void {
    this.#several ||= manifest.expected > 1;
    if (this.#begun) return;
    this.#begun = true;
    this.#out.write(`${timestamp(new Date())} Sending message to service ${this.#order.service} (${manifest.algorithm})\n`);
  }

  output(chunk: OutputChunk): void {
    this.#printer.write(`[${this.#order.plugin}@${chunk.worker}] `, chunk.stream === 'stderr', chunk.data);
  }

  verdict(verdict: RunVerdict): void {
    if (!this.#several || verdict.worker === '') return;
    this.#printer.end();
    this.#out.write(`${verdict.worker}: ${describe(verdict)}\n`);
  }

  done(outcome: Outcome, elapsedMs: number): void {
    this.#printer.end();
    reportError(outcome, this.#order, this.#err, this.#program);
    if (!this.#begun) return;
    const summary = [`Exit code: ${outcome.exitCode}`, `Total messages: ${this.#printer.lines}`, `Time ran: ${formatDuration(elapsedMs)}`];
    this.#out.write(`${summary.join('\n')}\n`);
  }
}

/** `-raw`: the plugin's bytes and nothing else. */
export class RawScreen implements Screen {
  readonly #order: Order;
  readonly #out: Sink;
  readonly #err: Sink;

  constructor(order: Order, out: Sink, err: Sink) {
    this.#order = order;
    this.#out = out;
    this.#err = err;
  }

  manifest(): void {}

  output(chunk: OutputChunk): void {
    (chunk.stream === 'stderr' ? this.#err : this.#out).write(chunk.data);
  }

  verdict(): void {}

  done(outcome: Outcome): void {
    reportError(outcome, this.#order, this.#err, 'triggerfs-client');
  }
}

function describe({ verdict, exitCode, durationUs, detail }: RunVerdict): string {
  if (verdict === 'ok' || (verdict === 'failed' && detail === '')) {
    return `${verdict}, exit code ${exitCode}, ${formatDuration(durationUs / 1000)}`;
  }
  return detail === '' ? verdict : `${verdict}: ${detail}`;
}

/** One line with what kept the plugin from ending by itself, and what can be done. */
function reportError({ error, detail, verdict }: Outcome, order: Order, err: Sink, program: string): void {
  if (error === null) return;
  const limit = order.timeoutMs === undefined ? "the service's time limit" : formatDuration(order.timeoutMs);
  const what = verdict === 'timeout' ? `no end within ${limit}` : verdict;
  err.write(`${program}: ${detail === '' ? what : detail} (${error}). ${ERRORS[error].hint}\n`);
}
