import type { QueueResult } from '../../../protocol/http/queue.ts';
import { ANSWER_BYTES } from '../json-answer.ts';
import { endWithoutResult, type KeptEnd, stdoutOf } from './kept-answer.ts';
import type { KeptOutput } from './kept-output.ts';
import type { Kept, KeptStore } from './kept-store.ts';

/** Puts the end of an accepted invocation together: its result from the queue, and more of its output from the history. */
export class KeptReader {
  readonly #store: KeptStore;
  readonly #output: KeptOutput;

  constructor(store: KeptStore, output: KeptOutput) {
    this.#store = store;
    this.#output = output;
  }

  /** The result of one that has ended. */
  async result(kept: Kept): Promise<QueueResult> {
    return (await this.#store.result(kept)) ?? endWithoutResult(kept);
  }

  /** `whole`: all of its output is wanted, not only the end that the queue keeps. @throws TriggerFsError TFS_SEALED */
  async end(kept: Kept, team: string, whole: boolean): Promise<KeptEnd> {
    const result = await this.result(kept);
    const stdout = stdoutOf(result);
    if (!whole || result.truncated !== true || kept.invocation === null)
      return { kept, result, team, stdout, truncated: result.truncated === true };
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of this.#output.bytes(kept.teamId, kept.invocation, 'stdout')) {
      bytes += piece.length;
      if (bytes > ANSWER_BYTES) return { kept, result, team, stdout, truncated: true };
      pieces.push(piece);
    }
    // The history may keep nothing of this service.
    return { kept, result, team, stdout: Buffer.concat(pieces), truncated: bytes < stdout.length };
  }
}
