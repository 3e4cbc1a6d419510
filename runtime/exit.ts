import { TriggerFsError } from '../protocol/errors.ts';

/**
 * Ends a program because of an error: one line with what happened, one with what to do, and the registry's exit code.
 * Unexpected errors show their stack, because a person will want to report them.
 */
export function exitWith(program: string, thrown: unknown): never {
  const error = TriggerFsError.from(thrown);
  const text = error.code === 'TFS_INTERNAL' && error.cause instanceof Error ? (error.cause.stack ?? error.message) : error.message;
  process.stderr.write(`${program}: ${text} (${error.code})\n${error.definition.hint}\n`);
  process.exit(error.definition.exitCode);
}
