import { Readable } from 'node:stream';
import type { InvocationEvent } from '../../protocol/http/invocation.ts';
import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';
import type { Call, CallSink, OutputPiece } from './call.ts';
import { EVENT_STREAM, type LiveFormat } from './live-format.ts';
import { OutputText, type TextOrBase64 } from './output-text.ts';
import { doneView, manifestView, runVerdictView } from './views.ts';

const PING_MS = 15_000;
const BUFFER_BYTES = 64 * 1024;

/** Output of one stream of one run that is being turned into text. */
interface OutputState {
  readonly text: OutputText;
  /** Of its newest piece. */
  sequence: number;
}

/**
 * The body of a live answer: every event of an invocation as it happens. A reader that is slow is granted output slowly,
 * so what waits here stays within a run's credit; a reader that leaves cancels the invocation.
 */
export class LiveAnswer extends Readable implements CallSink {
  /** Resolves with the first event: null when there is something to stream, the outcome when it ended without any worker. */
  readonly begun: Promise<Outcome | null>;
  /** Resolves when the invocation has ended; its last events may still wait for the reader. */
  readonly ended: Promise<void>;
  readonly #begin: (ended: Outcome | null) => void;
  readonly #end: () => void;
  readonly #format: LiveFormat;
  readonly #service: string;
  readonly #plugin: string;
  readonly #startedAt = performance.now();
  readonly #streams = new Map<string, OutputState>();
  readonly #ping: NodeJS.Timeout;
  #call: Call | null = null;
  #quiet = true;
  #full = false;
  /** Output that was passed on while the reader was behind: granted when it has caught up. */
  #unread: { worker: number; bytes: number }[] = [];

  constructor(format: LiveFormat, service: string, plugin: string) {
    super({ highWaterMark: BUFFER_BYTES });
    const begun = Promise.withResolvers<Outcome | null>();
    this.begun = begun.promise;
    this.#begin = begun.resolve;
    const ended = Promise.withResolvers<void>();
    this.ended = ended.promise;
    this.#end = ended.resolve;
    this.#format = format;
    this.#service = service;
    this.#plugin = plugin;
    this.#ping = setInterval(() => this.#keepAlive(), PING_MS);
  }

  /** The call whose events come here; must be told before the first of them. */
  attach(call: Call): void {
    this.#call = call;
  }

  manifest(manifest: Manifest): void {
    this.#write(manifestView(manifest, this.#service, this.#plugin));
    this.#begin(null);
  }

  output({ worker, identity, stream, sequence, data }: OutputPiece): void {
    const key = `${stream} ${identity}`;
    const state = this.#streams.get(key) ?? { text: new OutputText(), sequence };
    this.#streams.set(key, state);
    state.sequence = sequence;
    this.#writeOutput(identity, stream, sequence, state.text.write(data));
    if (this.#full) this.#unread.push({ worker, bytes: data.length });
    else this.#call?.consumed(worker, data.length);
  }

  verdict(verdict: RunVerdict): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const key = `${stream} ${verdict.worker}`;
      const state = this.#streams.get(key);
      if (state !== undefined) this.#writeOutput(verdict.worker, stream, state.sequence, state.text.end());
      this.#streams.delete(key);
    }
    this.#write({ event: 'verdict', ...runVerdictView(verdict) });
  }

  done(outcome: Outcome): void {
    clearInterval(this.#ping);
    this.#begin(outcome);
    this.#write(doneView(outcome, performance.now() - this.#startedAt));
    if (!this.destroyed) this.push(null);
    this.#end();
  }

  override _read(): void {
    this.#full = false;
    for (const { worker, bytes } of this.#unread.splice(0)) this.#call?.consumed(worker, bytes);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearInterval(this.#ping);
    this.#full = false;
    this.#unread = [];
    this.#call?.cancel();
    callback(error);
  }

  #writeOutput(worker: string, stream: 'stdout' | 'stderr', sequence: number, piece: TextOrBase64 | null): void {
    if (piece === null) return;
    const data = piece.base64 === null ? { data: piece.text } : { data: piece.base64, encoding: 'base64' as const };
    this.#write({ event: 'output', worker, stream, sequence, ...data });
  }

  #write(event: InvocationEvent): void {
    this.#quiet = false;
    if (!this.destroyed && !this.push(this.#format.event(event, this.#idOf(event)))) this.#full = true;
  }

  /** A browser that connects again tells with it that it means this invocation, and does not start another one. */
  #idOf({ event }: InvocationEvent): string | null {
    if (this.#call === null || this.#format !== EVENT_STREAM) return null;
    if (event === 'manifest') return this.#call.invocation;
    return event === 'done' ? `${this.#call.invocation}!` : null;
  }

  #keepAlive(): void {
    if (this.#quiet && !this.#full) this.push(this.#format.ping);
    this.#quiet = true;
  }
}
