import { constants } from 'node:os';
import { LIMITS } from '../../protocol/limits.ts';
import { RecordFlag } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { broken, exited, interrupted, type Outcome, SIGNAL_EXIT_BASE, signalled } from '../runs/outcome.ts';
import type { Run, RunControl } from '../runs/run.ts';
import type { FifoPool } from './fifo-pool.ts';
import { OutputPipe } from './output-pipe.ts';
import type { PayloadFile } from './payload-file.ts';
import { signalGroup } from './process-group.ts';
import type { SpawnStreams } from './spawner.ts';

/** How long processes that outlive the leader of their group may go on printing. */
const LEFTOVER_MS = 200;
/** After the group was killed: silence after which what is left in a pipe is taken as read. */
const SILENCE_MS = 50;
/** Rounds of silence that are waited for at most: a daemon may go on printing for ever. */
const MAX_ROUNDS = 20;
/** After SIGTERM because of a timeout: RESULT is sent after this time at the latest. */
const TIMEOUT_REPORT_MS = 500;

/** What a process is started with. */
export interface ExecOptions {
  readonly run: Run;
  readonly payload: PayloadFile;
  readonly pool: FifoPool;
  /** Sends a signal to the process group. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Nothing of the process is left but perhaps some of its group. */
  readonly closed: () => void;
}

/**
 * One process for one run, leader of a process group of its own.
 *
 *   starting ──started()──▶ alive ──exited()──▶ exited ──both pipes at their end──▶ closed
 *
 * starting: the spawner was asked for the process; a cancel waits for it.
 * alive:    the leader runs. `cancel` sends SIGTERM to the group, and SIGKILL after the grace.
 * exited:   the leader is gone; what is in the pipes is read to the end. Processes that still hold a pipe are killed
 *           with the group after a moment; one that left the group too (a daemon) loses its reader after a silence.
 * closed:   the run has finished, its place is free, the rest of the group is killed.
 */
export class ExecProcess implements RunControl {
  readonly #options: ExecOptions;
  readonly #run: Run;
  readonly #stdout: OutputPipe;
  readonly #stderr: OutputPipe;
  #pid = 0;
  #outcome: Outcome | null = null;
  #killTimer: NodeJS.Timeout | null = null;
  #reportTimer: NodeJS.Timeout | null = null;
  #leftoverTimer: NodeJS.Timeout | null = null;
  #heard = false;
  #rounds = 0;
  #closed = false;

  /** Prepares the streams. @throws Error of the system when the machine is out of something */
  constructor(options: ExecOptions) {
    this.#options = options;
    this.#run = options.run;
    const pipes: OutputPipe[] = [];
    try {
      pipes.push(new OutputPipe(options.pool));
      pipes.push(new OutputPipe(options.pool));
    } catch (error) {
      for (const pipe of pipes) pipe.abandon();
      options.payload.release();
      throw error;
    }
    [this.#stdout, this.#stderr] = pipes as [OutputPipe, OutputPipe];
  }

  /** What the spawner opens as the standard streams. */
  get streams(): SpawnStreams {
    return { stdin: this.#options.payload.path, stdout: this.#stdout.path, stderr: this.#stderr.path };
  }

  /** The process runs. */
  started(pid: number): void {
    this.#pid = pid;
    this.#options.payload.release();
    this.#run.started(performance.now());
    this.#listen(this.#stdout, 0);
    this.#listen(this.#stderr, RecordFlag.stderr);
    if (this.#run.interruption !== null) this.#terminate();
  }

  /** The process could not be started. */
  failed(outcome: Outcome): void {
    this.#options.payload.release();
    this.#stdout.abandon();
    this.#stderr.abandon();
    this.#finish(outcome);
  }

  /** The leader is gone. */
  exited(code: number | null, signal: NodeJS.Signals | null): void {
    this.#outcome = this.#outcomeOf(code, signal);
    if (this.#stdout.ended && this.#stderr.ended) this.#close();
    else this.#leftoverTimer = setTimeout(() => this.#killLeftovers(), LEFTOVER_MS);
  }

  /** The spawner died: whatever there is of the process ends now. */
  lost(): void {
    const outcome = broken(Verdict.failed, 'TFS_PLUGIN_FAILED', 'the process that starts plugins died');
    if (this.#pid === 0) {
      this.failed(outcome);
      return;
    }
    signalGroup(this.#pid, 'SIGKILL');
    this.#outcome ??= outcome;
    this.#close();
  }

  cancel(run: Run): void {
    if (this.#closed) return;
    const timeout = run.interruption === Verdict.timeout;
    if (timeout) this.#reportTimer = setTimeout(() => this.#report(), TIMEOUT_REPORT_MS);
    if (this.#pid !== 0 && this.#outcome === null) this.#terminate();
  }

  resume(): void {
    this.#stdout.resume();
    this.#stderr.resume();
  }

  granted(): void {
    // The process is held back by not reading its pipes; it knows nothing of credit.
  }

  /** Kills the group at once: the worker ends. */
  kill(): void {
    if (this.#pid !== 0 && !this.#closed) signalGroup(this.#pid, 'SIGKILL');
  }

  #terminate(): void {
    this.#options.signal('SIGTERM');
    this.#killTimer = setTimeout(() => this.#options.signal('SIGKILL'), LIMITS.killGraceMs);
  }

  #listen(pipe: OutputPipe, flags: number): void {
    pipe.read({
      data: (source, length) => {
        this.#heard = true;
        return this.#run.output(flags, source, 0, length);
      },
      end: () => this.#closeIfDone(),
    });
  }

  #outcomeOf(code: number | null, signal: NodeJS.Signals | null): Outcome {
    const number = signal === null ? 0 : (constants.signals[signal] ?? 0);
    const { interruption } = this.#run;
    if (interruption !== null) return interrupted(interruption, code ?? SIGNAL_EXIT_BASE + number, number);
    return signal === null ? exited(code ?? 0) : signalled(number, signal);
  }

  #closeIfDone(): void {
    if (this.#outcome !== null && this.#stdout.ended && this.#stderr.ended) this.#close();
  }

  /** The leader is gone and a pipe is still open: its group ends, and then whatever is left is read. */
  #killLeftovers(): void {
    this.#options.signal('SIGKILL');
    this.#heard = false;
    this.#leftoverTimer = setTimeout(() => this.#closeIfSilent(), SILENCE_MS);
  }

  #closeIfSilent(): void {
    const paused = this.#stdout.paused || this.#stderr.paused;
    if (paused || (this.#heard && this.#rounds < MAX_ROUNDS)) {
      if (!paused) this.#rounds += 1;
      this.#heard = false;
      this.#leftoverTimer = setTimeout(() => this.#closeIfSilent(), SILENCE_MS);
      return;
    }
    this.#close();
  }

  /** The time is over and the process has not ended yet: the caller gets its verdict, the kill goes on. */
  #report(): void {
    this.#run.finishNow(interrupted(Verdict.timeout, 0, 0), performance.now());
    this.resume();
  }

  #close(): void {
    if (this.#closed) return;
    this.#stdout.close();
    this.#stderr.close();
    this.#finish(this.#outcome as Outcome);
  }

  #finish(outcome: Outcome): void {
    this.#closed = true;
    for (const timer of [this.#killTimer, this.#reportTimer, this.#leftoverTimer]) if (timer !== null) clearTimeout(timer);
    const now = performance.now();
    if (this.#run.interruption === null) this.#run.finish(outcome, now);
    else this.#run.finishNow(outcome, now);
    this.#run.release();
    this.#options.closed();
  }
}
