import { quantile } from '../report/statistics.ts';

/** A closed loop: `window` requests are always on their way, each answer sends the next one. */
export interface LoadCommand {
  readonly window: number;
  readonly ms: number;
  readonly payloadBytes: number;
}

/** What a closed loop counted; latencies in microseconds. */
export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Longest time between two answers: what a client feels while a broker is away. */
  readonly longestPauseMs: number;
  readonly failures: number;
  readonly firstFailure: string | null;
}

/** Sends requests; calls `exchange.answered` with the answer's bytes and `exchange.done` once. */
export interface Requester {
  request(exchange: Exchange): void;
}

const MAX_SAMPLES = 2_000_000;
const LAST_ANSWERS_MS = 30_000;

/** One place of the window: a payload of its own and the answer's state. Each request carries a new number, which the answer must repeat. */
export class Exchange {
  readonly payload: Buffer;
  readonly #loop: ClosedLoop;
  #received = 0;
  #wrong = false;
  sentAt = 0;

  constructor(loop: ClosedLoop, payloadBytes: number) {
    this.#loop = loop;
    this.payload = Buffer.alloc(payloadBytes, 'x');
  }

  /** Prepares the next request. */
  begin(number: number, now: number): void {
    if (this.payload.length >= 4) this.payload.writeUInt32LE(number >>> 0, 0);
    this.#received = 0;
    this.#wrong = false;
    this.sentAt = now;
  }

  /** A piece of the answer, which must repeat the payload. */
  answered(data: Uint8Array): void {
    const at = this.#received;
    this.#received += data.length;
    const { payload } = this;
    // The number and the length tell a wrong answer; comparing every byte would measure the comparison.
    if (at === 0) {
      for (let i = 0; i < 4 && i < data.length; i += 1) if (data[i] !== payload[i]) this.#wrong = true;
    }
  }

  /** The request has ended; `failure` says why it did not end well. */
  done(failure: string | null): void {
    let reason = failure;
    if (reason === null && (this.#wrong || this.#received !== this.payload.length)) {
      reason = `answered with ${this.#received} bytes${this.#wrong ? ' of another request' : ''}`;
    }
    this.#loop.completed(this, reason);
  }
}

/** Keeps a window of requests on their way for a while. */
export class ClosedLoop {
  readonly #requester: Requester;
  readonly #command: LoadCommand;
  readonly #finished = Promise.withResolvers<LoadResult>();
  readonly #samples: Float64Array;
  readonly #startedAt = performance.now();
  readonly #endsAt: number;
  #number = 0;
  #requests = 0;
  #pending = 0;
  #failures = 0;
  #firstFailure: string | null = null;
  #lastAnswer: number;
  #longestPause = 0;
  #late: NodeJS.Timeout | null = null;

  constructor(requester: Requester, command: LoadCommand) {
    this.#requester = requester;
    this.#command = command;
    this.#samples = new Float64Array(MAX_SAMPLES);
    this.#endsAt = this.#startedAt + command.ms;
    this.#lastAnswer = this.#startedAt;
  }

  /** Runs to the end. @throws Error when answers are missing half a minute after the last request */
  run(): Promise<LoadResult> {
    const { window, ms, payloadBytes } = this.#command;
    const limitMs = ms + LAST_ANSWERS_MS;
    this.#late = setTimeout(() => {
      this.#finished.reject(new Error(`${this.#pending} of ${this.#number} requests have no answer after ${limitMs} ms`));
    }, limitMs);
    for (let i = 0; i < window; i += 1) this.#send(new Exchange(this, payloadBytes), performance.now());
    return this.#finished.promise;
  }

  /** Called by exchanges. */
  completed(exchange: Exchange, failure: string | null): void {
    const now = performance.now();
    this.#pending -= 1;
    if (failure !== null) {
      this.#failures += 1;
      this.#firstFailure ??= failure;
    }
    if (now < this.#endsAt) {
      if (this.#requests < MAX_SAMPLES) this.#samples[this.#requests] = (now - exchange.sentAt) * 1000;
      this.#requests += 1;
      this.#longestPause = Math.max(this.#longestPause, now - this.#lastAnswer);
      this.#lastAnswer = now;
      this.#send(exchange, now);
    } else if (this.#pending === 0) {
      this.#finish();
    }
  }

  #send(exchange: Exchange, now: number): void {
    this.#number += 1;
    this.#pending += 1;
    exchange.begin(this.#number, now);
    this.#requester.request(exchange);
  }

  #finish(): void {
    if (this.#late !== null) clearTimeout(this.#late);
    const sorted = this.#samples.subarray(0, Math.min(this.#requests, MAX_SAMPLES)).sort();
    this.#finished.resolve({
      requests: this.#requests,
      perSecond: this.#requests / (this.#command.ms / 1000),
      p50: sorted.length === 0 ? Number.NaN : quantile(sorted, 0.5),
      p99: sorted.length === 0 ? Number.NaN : quantile(sorted, 0.99),
      longestPauseMs: this.#longestPause,
      failures: this.#failures,
      firstFailure: this.#firstFailure,
    });
  }
}
