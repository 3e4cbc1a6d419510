import { Channel } from './channel.ts';
import type { Handler } from './message.ts';
import { keepStandardOutput } from './standard-output.ts';

/** Options of `serve`. */
export interface ServeOptions {
  /** One request after another, in the order of their arrival, also when the handler is asynchronous. */
  readonly ordered?: boolean;
}

const killListeners: (() => void | Promise<void>)[] = [];

/**
 * Serves requests until the worker ends the process. Call it once; it returns at once.
 * Everything printed with `console.log` goes to the worker's log, because standard output belongs to the connection.
 */
export function serve(handler: Handler, options: ServeOptions = {}): void {
  keepStandardOutput();
  const onEnd = async (): Promise<void> => {
    await Promise.allSettled(killListeners.map(async (listener) => listener()));
  };
  new Channel({ handler, ordered: options.ordered ?? false, onEnd }).open();
}

/** Calls back before the process ends (the worker stops, or replaces it): close files and connections here. */
export function onKill(listener: () => void | Promise<void>): void {
  killListeners.push(listener);
}
