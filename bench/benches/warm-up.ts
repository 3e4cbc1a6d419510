import type { RoleProcess } from '../stage/role.ts';
import { until } from '../stage/wait.ts';

/** Sends single requests until one is answered well: worker, plugin and sessions are up then. */
export async function untilAnswered(load: RoleProcess, payloadBytes: number): Promise<void> {
  let last = 'no answer';
  const answered = async (): Promise<boolean> => {
    const { requests, failures, firstFailure } = await load.load({ window: 1, ms: 100, payloadBytes });
    last = firstFailure ?? last;
    return requests > 0 && failures === 0;
  };
  try {
    await until('a good answer', answered, 30_000);
  } catch (cause) {
    throw new Error(`${load.program.name} gets no good answer: ${last}`, { cause });
  }
}
