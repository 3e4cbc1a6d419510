import { timestamp } from '../runtime/logging.ts';
import { VERSION } from '../runtime/version.ts';

/** The first lines of the program, as documented. */
export function banner(): readonly string[] {
  return [`triggerfs (v${VERSION})`, '***** Welcome to triggerFS. A realtime messaging and distributed trigger system. ***'];
}

/** A line with date and time before it. */
export function stamped(text: string): string {
  return `${timestamp(new Date())} ${text}`;
}
