import { setTimeout as sleep } from 'node:timers/promises';
import { TriggerFsError } from '../protocol/errors.ts';
import type { HistoryEvent } from '../protocol/http/history.ts';
import { Backoff } from '../runtime/wire/backoff.ts';
import type { ApiCaller } from './api-caller.ts';

/** A line comes every 15 s at least; after so long without one the answer is taken for lost. */
const SILENCE_MS = 45_000;
/** How long a control-plane may be away. */
const AWAY_MS = 120_000;
const MAX_LINE = 1024 * 1024;

/** An event without what only the connection is about. */
export type FollowedEvent = Exclude<HistoryEvent, { event: 'ping' }>;

/**
 * Everything that happens in an invocation of the history, from its first byte on, then live until its end. A connection that is lost is
 * made again behind the last event, so that nothing comes twice.
 */
export class Follower {
  readonly #caller: ApiCaller;
  readonly #id: string;
  readonly #signal: AbortSignal;
  readonly #live: boolean;
  readonly #backoff = new Backoff(200, 5_000);
  #cursor = '';
  #heardAt = performance.now();

  /** Ends with an AbortError after `signal`. Not `live`: with what there is now, also without an end. */
  constructor(caller: ApiCaller, id: string, signal: AbortSignal, live = true) {
    this.#caller = caller;
    this.#id = id;
    this.#signal = signal;
    this.#live = live;
  }

  /** The events, the last of them `done`. @throws TriggerFsError TFS_NOT_FOUND, TFS_NOT_KEPT, TFS_UNAVAILABLE */
  async *events(): AsyncGenerator<FollowedEvent, void, undefined> {
    for (;;) {
      try {
        for await (const event of this.#connection()) {
          yield event;
          if (event.event === 'done') return;
        }
        if (!this.#live) return;
      } catch (thrown) {
        this.#signal.throwIfAborted();
        const error = TriggerFsError.from(thrown);
        const lost = thrown instanceof TriggerFsError ? error.definition.retryable : true;
        if (!lost || performance.now() - this.#heardAt > AWAY_MS) throw error;
      }
      await sleep(this.#backoff.next(), undefined, { signal: this.#signal });
    }
  }

  /** What one answer brings. It may be cut anywhere. */
  async *#connection(): AsyncGenerator<FollowedEvent, void, undefined> {
    const silence = new AbortController();
    const signal = AbortSignal.any([this.#signal, silence.signal]);
    const after = this.#cursor === '' ? '' : `&after=${encodeURIComponent(this.#cursor)}`;
    const path = `/v1/history/${encodeURIComponent(this.#id)}/output?follow=${this.#live ? 1 : 0}${after}`;
    const body = await this.#caller.stream({ method: 'GET', path, headers: { accept: 'application/x-ndjson' }, signal });
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      for await (const line of lines(body)) {
        clearTimeout(timer);
        this.#heardAt = performance.now();
        this.#backoff.reset();
        const { cursor, ...event } = JSON.parse(line) as HistoryEvent & { cursor?: string };
        // What takes the event may take its time; only the server's silence counts.
        if (event.event !== 'ping') yield event as FollowedEvent;
        if (cursor !== undefined) this.#cursor = cursor;
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

async function* lines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > MAX_LINE) throw new TriggerFsError('TFS_UNAVAILABLE', 'the answer holds a line without an end');
    yield* parts.filter((line) => line !== '');
  }
}
