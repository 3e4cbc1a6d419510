import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordType } from '../../protocol/records.ts';
import type { Recorder } from '../history/recorder.ts';
import type { Run } from './invocation.ts';

/**
 * Passes readers' credit on to workers. While the history cannot keep up, the credit of runs whose output is kept waits here:
 * a plugin then writes no faster than its output can be stored, and nothing has to be dropped.
 */
export class CreditGate {
  readonly #recorder: Recorder;
  #held = new Set<Run>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** Runs whose credit waits. */
  get held(): number {
    return this.#held.size;
  }

  /** The credit that a run begins with. */
  open(run: Run): number {
    const credit = Math.min(run.invocation.credit, LIMITS.maxCreditBytes);
    run.heldCredit = 0;
    if (!this.#holds(run)) return credit;
    this.#hold(run, credit);
    return 0;
  }

  /** A reader takes this many bytes more. */
  grant(run: Run, bytes: number): void {
    if (this.#holds(run)) this.#hold(run, bytes);
    else grant(run, bytes);
  }

  /** Passes on what waits, when the history has caught up. */
  release(): void {
    if (this.#held.size === 0 || this.#recorder.congested) return;
    const held = this.#held;
    this.#held = new Set();
    for (const run of held) {
      grant(run, run.heldCredit);
      run.heldCredit = 0;
    }
  }

  #holds(run: Run): boolean {
    return run.invocation.record?.rule.level === 'output' && this.#recorder.congested;
  }

  #hold(run: Run, bytes: number): void {
    run.heldCredit = Math.min(run.heldCredit + bytes, LIMITS.maxCreditBytes);
    this.#held.add(run);
  }
}

function grant(run: Run, bytes: number): void {
  const allowed = Math.min(bytes, Math.max(0, LIMITS.maxCreditBytes - run.credit));
  if (allowed === 0 || run.worker === null || run.number === 0) return;
  run.credit += allowed;
  const { outbox } = run.worker.session;
  const at = outbox.reserve(RecordType.credit, 0, Layout.credit.end);
  outbox.buffer.writeUInt32LE(run.number, at + Layout.credit.call);
  outbox.buffer.writeUInt32LE(0, at + Layout.credit.worker);
  outbox.buffer.writeUInt32LE(allowed, at + Layout.credit.bytes);
}
