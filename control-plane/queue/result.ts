import { QUEUE_LIMITS, type QueueResult } from '../../protocol/http/queue.ts';
import type { Outcome, RunVerdict } from '../../protocol/outcome.ts';
import { OutputTail } from './output-tail.ts';

const MAX_RUNS = 1000;

/** Collects what an attempt says: the end of its output and the verdicts of its runs. */
export class ResultCollector {
  readonly #stdout = new OutputTail(QUEUE_LIMITS.tailBytes);
  readonly #stderr = new OutputTail(QUEUE_LIMITS.tailBytes);
  readonly #runs: RunVerdict[] = [];
  readonly #startedAt = performance.now();

  /** A piece of output; it is copied. */
  output(data: Buffer, stderr: boolean): void {
    (stderr ? this.#stderr : this.#stdout).push(data);
  }

  /** A run has ended. */
  verdict(verdict: RunVerdict): void {
    if (this.#runs.length < MAX_RUNS) this.#runs.push(verdict);
  }

  /** Identities of the workers that ran it, joined. */
  get workers(): string {
    return this.#runs
      .map(({ worker }) => worker)
      .filter((worker) => worker !== '')
      .join(',')
      .slice(0, 1000);
  }

  /** Everything that is kept of it. */
  result({ verdict, exitCode, error, detail }: Outcome): QueueResult {
    const stdout = this.#stdout.bytes();
    const output = stdout.toString('utf8');
    return {
      verdict,
      exitCode,
      error,
      detail,
      output,
      ...(Buffer.from(output).equals(stdout) ? {} : { outputBase64: stdout.toString('base64') }),
      stderr: this.#stderr.bytes().toString('utf8'),
      ...(this.#stdout.truncated || this.#stderr.truncated ? { truncated: true as const } : {}),
      durationMs: Math.round(performance.now() - this.#startedAt),
      runs: this.#runs.map(({ durationUs, ...run }) => ({ ...run, durationMs: durationUs / 1000 })),
    };
  }
}

/** A result without output, of an item that never ran. */
export function emptyResult(outcome: Outcome): QueueResult {
  return new ResultCollector().result(outcome);
}
