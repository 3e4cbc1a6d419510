import { TriggerFsError } from '../../protocol/errors.ts';
import { RequestFailed } from './commands/request.ts';
import type { Console } from './console.ts';
import type { ConsoleScreen } from './screen/console-screen.ts';

/** Where lines come from, for messages. */
export interface Source {
  /** `line` for files and pipes, `-e` for arguments. */
  readonly label: string;
  readonly lines: AsyncIterable<string> | Iterable<string>;
}

/**
 * Runs lines one after the other and stops at the first that fails, naming it. Returns the exit code: that of the error, or of
 * the plugin where a request failed.
 */
export async function runScript(source: Source, console: Console, screen: ConsoleScreen, signal: AbortSignal): Promise<number> {
  let number = 0;
  for await (const line of source.lines) {
    number += 1;
    try {
      signal.throwIfAborted();
      await console.execute(line, signal);
    } catch (thrown) {
      if (signal.aborted) return new TriggerFsError('TFS_CANCELLED', 'interrupted').definition.exitCode;
      return explain(`${source.label} ${number}`, line, thrown, screen);
    }
    if (console.closed) break;
  }
  const forgotten = console.candidate.length;
  await console.quit();
  if (forgotten === 0) return 0;
  const error = new TriggerFsError('TFS_USAGE', `${forgotten} changes were collected and not committed`);
  return explain(`after ${source.label} ${number}`, 'end of the script', error, screen);
}

function explain(where: string, line: string, thrown: unknown, screen: ConsoleScreen): number {
  const failed = thrown instanceof RequestFailed;
  const error = TriggerFsError.from(thrown);
  const hint = error.code === 'TFS_USAGE' ? 'See help.' : error.definition.hint;
  const reason = failed ? thrown.message : `${error.message} (${error.code}). ${hint}`;
  screen.err.write(`triggerfs-cli: ${where}: ${line.trim()}\n  ${reason}\n`);
  return failed ? thrown.exitCode : error.definition.exitCode;
}
