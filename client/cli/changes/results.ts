import type { CommandResult } from '../../../protocol/http/configuration.ts';
import { workerSection } from '../../../runtime/config/index.ts';

/** What people should know after a commit: notices, and the tokens of new workers. */
export function resultLines(team: string, results: readonly CommandResult[]): string[] {
  return results.flatMap(({ notice, worker }) => [
    ...(notice === null ? [] : [`Notice: ${notice}`]),
    ...(worker === null ? [] : workerToken(team, worker.identity, worker.token)),
  ]);
}

/** A worker's new token with the section of triggerfs.toml that holds it. */
export function workerToken(team: string, identity: string, token: string): string[] {
  return [
    `Token: ${token}`,
    'It is shown only now. Put it into the triggerfs.toml of the machine that the worker runs on:',
    '',
    workerSection(team, identity),
    `token = "${token}"`,
    '',
  ];
}
