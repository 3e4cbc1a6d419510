import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { LIMITS } from '../../protocol/limits.ts';
import { RecordFlag } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { Plugin } from '../catalogue/plugin.ts';
import { exited, interrupted, type Outcome, SIGNAL_EXIT_BASE, signalled } from '../runs/outcome.ts';
import type { Run, RunControl } from '../runs/run.ts';
import type { FifoPool } from './fifo-pool.ts';
import { OutputPipe } from './output-pipe.ts';
import { signalGroup } from './process-group.ts';
import { type Sandbox, spawnIdentity } from './sandbox.ts';

/** How long processes that outlive the leader of their group may go on printing. */
const LEFTOVER_MS = 200;
/** After the group was killed: silence after which what is left in a pipe is taken as read. */
const SILENCE_MS = 50;
/** Rounds of silence that are waited for at most: a daemon may go on printing for ever. */
const MAX_ROUNDS = 20;
/** After SIGTERM because of a timeout: RESULT is sent after this time at the latest. */
const TIMEOUT_REPORT_MS = 500;

/** What a process is started with. */
export interface ExecSpawn {
  readonly plugin: Plugin;
  readonly run: Run;
  readonly sandbox: Sandbox;
  readonly environment: NodeJS.ProcessEnv;
  readonly pool: FifoPool;
  /** Standard input; closed by the constructor. */
  readonly payload: number;
  /** The process could not be started. */
  readonly failed: (error: NodeJS.ErrnoException) => void;
  /** Nothing of the process is left. */
  readonly closed: (process: ExecProcess) => void;
}

/**
 * One process for one run, leader of a process group of its own.
 *
 *   alive ──exit──▶ exited ──both pipes at their end──▶ closed
 *
 * alive:  the leader runs. `cancel` sends SIGTERM to the group, and SIGKILL after the grace.
 * exited: the leader is gone; what is in the pipes is read to the end. Processes that still hold a pipe are killed
 *         with the group after a moment; one that left the group too (a daemon) loses its reader after a silence.
 * closed: the group was killed, the run has finished, its place is free.
 */
export class ExecProcess implements RunControl {
  readonly #run: Run;
  readonly #stdout: OutputPipe;
  readonly #stderr: OutputPipe;
  readonly #child: ChildProcess;
  readonly #onClose: (process: ExecProcess) => void;
  #outcome: Outcome | null = null;
  #killTimer: NodeJS.Timeout | null = null;
  #reportTimer: NodeJS.Timeout | null = null;
  #leftoverTimer: NodeJS.Timeout | null = null;
  #heard = false;
  #rounds = 0;
  #closed = false;

  /** Starts the process. @throws Error of the system when the machine is out of something */
  constructor(options: ExecSpawn) {
    const { plugin, sandbox, payload } = options;
    this.#run = options.run;
    this.#onClose = options.closed;
    const pipes: OutputPipe[] = [];
    try {
      pipes.push(new OutputPipe(options.pool), new OutputPipe(options.pool));
      this.#stdout = pipes[0] as OutputPipe;
      this.#stderr = pipes[1] as OutputPipe;
      this.#child = spawn(plugin.program, plugin.arguments, {
        cwd: sandbox.cwd,
        env: options.environment,
        detached: true,
        stdio: [payload, this.#stdout.writer, this.#stderr.writer],
        ...spawnIdentity(sandbox),
      });
    } catch (error) {
      for (const pipe of pipes) pipe.abandon();
      throw error;
    } finally {
      closeSync(payload);
    }
    this.#child.on('error', (error) => {
      if (this.#child.pid === undefined) options.failed(error);
    });
    if (this.#child.pid === undefined) {
      for (const pipe of pipes) pipe.abandon();
      return;
    }
    this.#child.on('exit', (code, signal) => this.#exited(code, signal));
    this.#listen(this.#stdout, 0);
    this.#listen(this.#stderr, RecordFlag.stderr);
  }

  /** False: it could not be started, and `failed` is called soon. */
  get alive(): boolean {
    return this.#child.pid !== undefined;
  }

  cancel(run: Run): void {
    if (this.#closed) return;
    const timeout = run.interruption === Verdict.timeout;
    if (timeout) this.#reportTimer = setTimeout(() => this.#report(), TIMEOUT_REPORT_MS);
    if (this.#outcome !== null) return;
    this.#signal('SIGTERM');
    this.#killTimer = setTimeout(() => this.#signal('SIGKILL'), LIMITS.killGraceMs);
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
    if (!this.#closed) this.#signal('SIGKILL');
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

  #signal(signal: NodeJS.Signals): void {
    signalGroup(this.#child.pid as number, signal);
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    this.#outcome = this.#outcomeOf(code, signal);
    if (this.#stdout.ended && this.#stderr.ended) this.#close();
    else this.#leftoverTimer = setTimeout(() => this.#killLeftovers(), LEFTOVER_MS);
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
    this.#signal('SIGKILL');
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
    this.#closed = true;
    this.#signal('SIGKILL');
    for (const timer of [this.#killTimer, this.#reportTimer, this.#leftoverTimer]) if (timer !== null) clearTimeout(timer);
    this.#stdout.close();
    this.#stderr.close();
    const outcome = this.#outcome as Outcome;
    const now = performance.now();
    if (this.#run.interruption === null) this.#run.finish(outcome, now);
    else this.#run.finishNow(outcome, now);
    this.#run.release();
    this.#onClose(this);
  }
}
