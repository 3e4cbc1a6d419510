import type { Operation } from '../../../protocol/configuration/operations.ts';
import type { Call } from '../command.ts';
import type { Answer } from '../screen/answer.ts';
import { applyDirectly } from './direct.ts';

/** Makes one change, or adds it to the candidate. */
export async function applyChange(call: Call, operation: Operation): Promise<Answer | null> {
  const answer = await applyDirectly(call, operation);
  call.shell.namesChanged();
  return answer;
}
