import type { InvocationAnswer, RunAnswer } from '../../protocol/http/invocation.ts';
import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';
import type { Budget } from './budget.ts';
import type { Call, CallSink, OutputPiece } from './call.ts';
import { textOrBase64 } from './output-text.ts';
import { runVerdictView } from './views.ts';

/** Output that one answer may hold. */
export const ANSWER_BYTES: number = 10 * 1024 * 1024;

interface RunOutput {
  readonly stdout: Buffer[];
  readonly stderr: Buffer[];
}

/**
 * Collects an invocation for one JSON answer. Output beyond the limit of the answer, or of all answers together,
 * is dropped while the run goes on, and the answer says so.
 */
export class JsonAnswer implements CallSink {
  /** Resolves when the invocation has ended. */
  readonly outcome: Promise<Outcome>;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #budget: Budget;
  readonly #outputs = new Map<string, RunOutput>();
  readonly #verdicts: RunVerdict[] = [];
  readonly #startedAt = performance.now();
  #call: Call | null = null;
  #manifest: Manifest | null = null;
  #bytes = 0;
  #truncated = false;

  constructor(budget: Budget) {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.outcome = promise;
    this.#resolve = resolve;
    this.#budget = budget;
  }

  /** The call whose events come here; must be told before the first of them. */
  attach(call: Call): void {
    this.#call = call;
  }

  manifest(manifest: Manifest): void {
    // Another worker starts from the beginning.
    if (manifest.attempt > (this.#manifest?.attempt ?? 0)) this.#outputs.clear();
    this.#manifest = manifest;
  }

  output({ worker, identity, stream, data }: OutputPiece): void {
    this.#call?.consumed(worker, data.length);
    if (this.#bytes + data.length > ANSWER_BYTES || !this.#budget.take(data.length)) {
      this.#truncated = true;
      return;
    }
    this.#bytes += data.length;
    const output = this.#outputs.get(identity) ?? { stdout: [], stderr: [] };
    this.#outputs.set(identity, output);
    output[stream].push(Buffer.from(data));
  }

  verdict(verdict: RunVerdict): void {
    this.#verdicts.push(verdict);
  }

  done(outcome: Outcome): void {
    this.#resolve(outcome);
  }

  /** Whether output was dropped. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** Standard output of all runs, as it is. */
  get stdout(): Buffer {
    return this.#all('stdout');
  }

  /** Forgets the output and gives its bytes back. */
  release(): void {
    this.#outputs.clear();
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
  }

  /** The answer, once the outcome is known. */
  view(outcome: Outcome, service: string, plugin: string): InvocationAnswer {
    const stdout = textOrBase64(this.#all('stdout'));
    return {
      invocation: this.#call?.invocation ?? '',
      service,
      plugin,
      algorithm: this.#manifest?.algorithm ?? null,
      verdict: outcome.verdict,
      exitCode: outcome.exitCode,
      output: stdout.text ?? this.#all('stdout').toString('utf8'),
      ...(stdout.base64 === null ? {} : { outputBase64: stdout.base64 }),
      stderr: this.#all('stderr').toString('utf8'),
      ...(this.#truncated ? { truncated: true as const } : {}),
      durationMs: Math.round((performance.now() - this.#startedAt) * 1000) / 1000,
      runs: this.#verdicts.map((verdict) => this.#run(verdict)),
    };
  }

  #run(verdict: RunVerdict): RunAnswer {
    const output = this.#outputs.get(verdict.worker);
    const stdout = textOrBase64(Buffer.concat(output?.stdout ?? []));
    const stderr = textOrBase64(Buffer.concat(output?.stderr ?? []));
    return {
      ...runVerdictView(verdict),
      ...(stdout.base64 === null ? { stdout: stdout.text } : { stdoutBase64: stdout.base64 }),
      ...(stderr.base64 === null ? { stderr: stderr.text } : { stderrBase64: stderr.base64 }),
    };
  }

  #all(stream: 'stdout' | 'stderr'): Buffer {
    return Buffer.concat([...this.#outputs.values()].flatMap((output) => output[stream]));
  }
}
