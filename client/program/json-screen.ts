import { isUtf8 } from 'node:buffer';
import { ERRORS } from '../../protocol/errors.ts';
import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';
import type { OutputChunk } from '../invocation.ts';
import type { Order } from './options.ts';
import type { Screen } from './screen.ts';
import type { Sink } from './sink.ts';

/** `-json`: one object per line, with an `event` of manifest, output, verdict or done. */
export class JsonScreen implements Screen {
  readonly #order: Order;
  readonly #out: Sink;

  constructor(order: Order, out: Sink) {
    this.#order = order;
    this.#out = out;
  }

  manifest({ invocation, algorithm, attempt, expected, workers }: Manifest): void {
    const { service, plugin } = this.#order;
    this.#print({ event: 'manifest', invocation, service, plugin, algorithm, attempt, expected, workers });
  }

  /** Bytes that are no UTF-8 (or half a character) come as base64, and say so. */
  output({ worker, stream, sequence, data }: OutputChunk): void {
    const text = isUtf8(data) ? { data: data.toString() } : { encoding: 'base64', data: data.toString('base64') };
    this.#print({ event: 'output', worker, stream, sequence, ...text });
  }

  verdict({ worker, verdict, exitCode, signal, attempt, durationUs, error, detail }: RunVerdict): void {
    this.#print({ event: 'verdict', worker, verdict, exitCode, signal, attempt, durationMs: durationUs / 1000, error, detail });
  }

  done({ verdict, exitCode, runs, error, detail }: Outcome, elapsedMs: number): void {
    const hint = error === null ? null : ERRORS[error].hint;
    this.#print({ event: 'done', verdict, exitCode, runs, durationMs: Math.round(elapsedMs * 1000) / 1000, error, detail, hint });
  }

  #print(value: Record<string, unknown>): void {
    this.#out.write(`${JSON.stringify(value)}\n`);
  }
}
