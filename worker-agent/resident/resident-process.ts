import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { FRAME_PROTOCOL, FrameError, FrameFlag, FrameLayout, FrameReader, FrameType, FrameWriter } from '../../plugins/sdk/frames.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { INVOCATION_ID_BYTES, RecordFlag } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { BoundPlan, TaskBody } from '../catalogue/bound-plan.ts';
import type { Plugin } from '../catalogue/plugin.ts';
import { assertExecutable, confined } from '../exec/confinement.ts';
import { signalGroup } from '../exec/process-group.ts';
import { type Sandbox, spawnIdentity } from '../exec/sandbox.ts';
import { describeSpawnFailure } from '../exec/spawn-failure.ts';
import { broken, exited, interrupted } from '../runs/outcome.ts';
import type { LastChunk, Run, RunControl } from '../runs/run.ts';
import { HeldOutput } from './held-output.ts';
import { logLines } from './log-lines.ts';

const HANDSHAKE_MS = 10_000;
/** After CANCEL because of a timeout: RESULT is sent after this time at the latest. */
const TIMEOUT_REPORT_MS = 500;
const STOP_GRACE_MS = 5_000;
const Layout = FrameLayout.run;

/** What a resident process needs. */
export interface ResidentOptions {
  readonly plugin: Plugin;
  readonly sandbox: Sandbox;
  /** Identity of the worker. */
  readonly worker: string;
  /** All runs of the worker; frames name a run by its number in this table. */
  readonly runs: SlotTable<Run>;
  /** Receives the lines that the plugin prints to its standard error. */
  readonly log: (line: string) => void;
  readonly ready: () => void;
  /** The process is gone and its open runs have failed. Called once. */
  readonly gone: (process: ResidentProcess, reason: string) => void;
}

/**
 * One warm process that serves the runs of one plugin over frames on its standard input and output.
 *
 *   starting ──READY──▶ ready ──stop()──▶ stopping ──exit──▶ gone
 *
 * starting: HELLO was sent; no runs yet. READY must come within the handshake's time.
 * ready:    takes runs.
 * stopping: STOP was sent; open runs go on, then the process exits by itself.
 * gone:     reached from everywhere: exit, crash, bytes that are no frames, a cancelled run that does not end.
 */
export class ResidentProcess implements RunControl {
  readonly plugin: Plugin;
  readonly #options: ResidentOptions;
  readonly #child: ChildProcess;
  readonly #frames = new FrameWriter();
  readonly #reader = new FrameReader((type, flags, number, source, start, end) => this.#frame(type, flags, number, source, start, end));
  readonly #plans = new Set<number>();
  readonly #held: HeldOutput;
  readonly #cancelTimers = new Map<Run, NodeJS.Timeout[]>();
  readonly #last: { -readonly [K in keyof LastChunk]: LastChunk[K] };
  #state: 'starting' | 'ready' | 'stopping' | 'gone' = 'starting';
  #served = 0;
  #now = 0;
  #scheduled = false;
  #timer: NodeJS.Timeout | null = null;
  #wasReady = false;
  #reason = '';

  /** Starts the process; later failures are reported by `gone`. @throws Error of the system when it cannot be started */
  constructor(options: ResidentOptions) {
    const { plugin, sandbox } = options;
    this.plugin = plugin;
    this.#options = options;
    this.#last = { flags: 0, source: this.#frames.buffer, start: 0, end: 0 };
    this.#child = this.#spawn(plugin, sandbox);
    this.#held = new HeldOutput(() => this.#child.stdout as Readable);
    this.#child.on('error', (error) => this.#fail(describeSpawnFailure(plugin, error)));
    if (this.#child.pid === undefined) return;
    this.#child.on('exit', (code, signal) => this.#exited(signal === null ? `exit code ${code}` : `signal ${signal}`));
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#read(chunk));
    logLines(this.#child.stderr as Readable, options.log);
    this.#frames.json(FrameType.hello, 0, {
      protocol: FRAME_PROTOCOL,
      plugin: plugin.name,
      version: plugin.manifest.version,
      worker: options.worker,
    });
    this.#wake();
    this.#timer = setTimeout(() => this.kill(`it did not say READY within ${HANDSHAKE_MS} ms`), HANDSHAKE_MS);
  }

  get ready(): boolean {
    return this.#state === 'ready';
  }

  get gone(): boolean {
    return this.#state === 'gone';
  }

  /** It answered HELLO at some time. */
  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** Runs taken so far. */
  get served(): number {
    return this.#served;
  }

  /** Hands a run over. */
  start(run: Run, task: TaskBody, now: number): void {
    const { plan } = run;
    if (!this.#plans.has(plan.id)) this.#sendPlan(plan);
    const payloadBytes = task.end - task.payload;
    const frames = this.#frames;
    const at = frames.reserve(FrameType.run, 0, run.slot, Layout.payload + payloadBytes);
    const { buffer } = frames;
    buffer.writeUInt32LE(plan.id, at + Layout.plan);
    buffer.writeUInt32LE(run.credit, at + Layout.credit);
    buffer.writeUInt32LE(Math.max(0, Math.min(run.deadline - now, 0xffffffff)), at + Layout.timeoutMs);
    buffer.writeUInt32LE(run.attempt, at + Layout.attempt);
    task.batch.copy(buffer, at + Layout.invocation, task.invocation, task.invocation + INVOCATION_ID_BYTES);
    if (payloadBytes > 0) task.batch.copy(buffer, at + Layout.payload, task.payload, task.end);
    this.#served += 1;
    run.control = this;
    run.started(now);
    this.#wake();
  }

  /** A plan is not used any more. */
  forget(plan: BoundPlan): void {
    if (!this.#plans.delete(plan.id) || this.#state === 'gone') return;
    this.#frames.reserve(FrameType.unplan, 0, plan.id, 0);
    this.#wake();
  }

  cancel(run: Run): void {
    const timeout = run.interruption === Verdict.timeout;
    this.#frames.reserve(FrameType.cancel, timeout ? FrameFlag.timeout : 0, run.slot, 0);
    this.#wake();
    const timers = [setTimeout(() => this.kill('it did not end a cancelled run'), LIMITS.killGraceMs)];
    if (timeout) timers.push(setTimeout(() => run.finishNow(interrupted(Verdict.timeout, 0, 0), performance.now()), TIMEOUT_REPORT_MS));
    this.#cancelTimers.set(run, timers);
  }

  resume(run: Run): void {
    this.#held.release(run);
  }

  granted(run: Run, bytes: number): void {
    if (this.#state === 'gone') return;
    const at = this.#frames.reserve(FrameType.credit, 0, run.slot, FrameLayout.credit.end);
    this.#frames.buffer.writeUInt32LE(Math.min(bytes, 0xffffffff), at + FrameLayout.credit.bytes);
    this.#wake();
  }

  /** Asks the process to end after its open runs, and kills it when it does not then end. */
  stop(): void {
    if (this.#state !== 'ready' && this.#state !== 'starting') return;
    this.#state = 'stopping';
    this.#frames.reserve(FrameType.stop, 0, 0, 0);
    this.#wake();
    this.#clearTimer();
    this.#timer = setInterval(() => this.#killIfIdle(), STOP_GRACE_MS);
  }

  /** Ends the process at once; its open runs fail. */
  kill(reason: string): void {
    if (this.#state === 'gone') return;
    this.#reason = reason;
    signalGroup(this.#child.pid as number, 'SIGKILL');
  }

  #killIfIdle(): void {
    for (const run of this.#options.runs.values()) if (run.control === this) return;
    this.kill('it did not stop');
  }

  #spawn(plugin: Plugin, sandbox: Sandbox): ChildProcess {
    assertExecutable(plugin.program, sandbox.environment.PATH ?? '');
    const { program, args } = confined({ program: plugin.program, args: plugin.arguments });
    return spawn(program, args, {
      cwd: sandbox.cwd,
      env: { ...sandbox.environment, TRIGGERFS_PLUGIN: plugin.name, TRIGGERFS_WORKER: this.#options.worker },
      detached: true,
      stdio: 'pipe',
      ...spawnIdentity(sandbox),
    });
  }

  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (this.#frames.length > 0 && this.#state !== 'gone') this.#child.stdin?.write(this.#frames.take());
  };

  #sendPlan(plan: BoundPlan): void {
    const { service, caller, callerTeam } = plan.plan;
    this.#plans.add(plan.id);
    this.#frames.json(FrameType.plan, plan.id, { args: plan.args, service, caller, team: callerTeam });
  }

  #read(chunk: Buffer): void {
    if (this.#state === 'gone' || this.#reason !== '') return;
    this.#now = performance.now();
    try {
      this.#reader.push(chunk, chunk.length);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.kill(`it sent ${error.message}`);
    }
  }

  #frame(type: number, flags: number, number: number, source: Buffer, start: number, end: number): void {
    if (type === FrameType.done) this.#done(number, source, start, end);
    else if (type === FrameType.output) this.#output(flags, number, source, start, end);
    else if (type === FrameType.ready) this.#greeted(source, start, end);
    else throw new FrameError(`a frame of unknown type ${type}`);
  }

  #greeted(source: Buffer, start: number, end: number): void {
    const protocol = protocolOf(source.toString('utf8', start, end));
    if (protocol !== FRAME_PROTOCOL) throw new FrameError(`READY for protocol ${String(protocol)}, expected ${FRAME_PROTOCOL}`);
    if (this.#state !== 'starting') return;
    this.#clearTimer();
    this.#state = 'ready';
    this.#wasReady = true;
    this.#options.ready();
  }

  #output(flags: number, number: number, source: Buffer, start: number, end: number): void {
    const run = this.#runOf(number);
    if (end - start > LIMITS.outputBytes) throw new FrameError(`output of ${end - start} bytes in one frame`);
    if (!run.output(flags & RecordFlag.stderr, source, start, end)) this.#held.add(run, end - start);
  }

  #done(number: number, source: Buffer, start: number, end: number): void {
    const run = this.#runOf(number);
    const output = start + FrameLayout.done.output;
    if (output > end || end - output > LIMITS.outputBytes) throw new FrameError('a DONE frame of a wrong size');
    const exitCode = source.readUInt16LE(start + FrameLayout.done.exitCode) & 0xff;
    run.control = null;
    if (this.#cancelTimers.size > 0) this.#clearCancel(run);
    this.#held.release(run);
    if (run.interruption !== null) {
      run.output(0, source, output, end);
      run.finishNow(interrupted(run.interruption, exitCode, 0), this.#now);
    } else if (output === end) {
      run.finish(exited(exitCode), this.#now);
    } else {
      const last = this.#last;
      last.source = source;
      last.start = output;
      last.end = end;
      run.finishWith(last, exited(exitCode), this.#now);
    }
    run.release();
  }

  #runOf(number: number): Run {
    const run = this.#options.runs.get(number);
    if (run?.control !== this) throw new FrameError('a frame for a run that it does not have');
    return run;
  }

  #exited(how: string): void {
    signalGroup(this.#child.pid as number, 'SIGKILL');
    this.#fail(this.#reason === '' ? `plugin ${this.plugin.name} died: ${how}` : `plugin ${this.plugin.name} was ended: ${this.#reason}`);
  }

  #fail(reason: string): void {
    if (this.#state === 'gone') return;
    this.#state = 'gone';
    this.#clearTimer();
    const now = performance.now();
    for (const run of this.#options.runs.values()) {
      if (run.control !== this) continue;
      run.control = null;
      this.#clearCancel(run);
      if (run.interruption === null) run.finish(broken(Verdict.failed, 'TFS_PLUGIN_FAILED', reason), now);
      else run.finishNow(interrupted(run.interruption, 0, 0), now);
      run.release();
    }
    this.#child.stdin?.destroy();
    this.#child.stdout?.destroy();
    this.#options.gone(this, reason);
  }

  #clearCancel(run: Run): void {
    for (const timer of this.#cancelTimers.get(run) ?? []) clearTimeout(timer);
    this.#cancelTimers.delete(run);
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function protocolOf(text: string): unknown {
  try {
    return (JSON.parse(text) as { protocol?: unknown } | null)?.protocol;
  } catch {
    throw new FrameError('a READY that is not JSON');
  }
}
