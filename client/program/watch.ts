import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';
import type { WatchedOrder, Watcher } from '../attachment.ts';
import type { OutputChunk } from '../invocation.ts';
import type { Screen } from './screen.ts';
import type { Sink } from './sink.ts';

/** What shows an invocation that is watched on a screen for direct ones. */
export class ScreenWatcher implements Watcher {
  readonly #makeScreen: (order: WatchedOrder) => Screen;
  readonly #sinks: readonly Sink[];
  readonly #notice: (text: string) => void;
  #screen: Screen | null = null;

  /** `sinks` are what the screen writes to. */
  constructor(makeScreen: (order: WatchedOrder) => Screen, sinks: readonly Sink[], notice: (text: string) => void) {
    this.#makeScreen = makeScreen;
    this.#sinks = sinks;
    this.#notice = notice;
  }

  begin(order: WatchedOrder): void {
    this.#screen = this.#makeScreen(order);
  }

  manifest(manifest: Manifest): void {
    this.#screen?.manifest(manifest);
  }

  output(chunk: OutputChunk): void {
    this.#screen?.output(chunk);
  }

  verdict(verdict: RunVerdict): void {
    this.#screen?.verdict(verdict);
  }

  done(outcome: Outcome, elapsedMs: number): void {
    this.#screen?.done(outcome, elapsedMs);
  }

  notice(text: string): void {
    this.#notice(text);
  }

  async ready(): Promise<void> {
    for (const sink of this.#sinks) await sink.ready();
  }
}
