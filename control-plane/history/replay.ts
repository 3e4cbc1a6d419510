import { TriggerFsError } from '../../protocol/errors.ts';
import { payloadAad } from '../../protocol/history-block.ts';
import type { NewItem } from '../../runtime/acceptance/new-item.ts';
import { type KeyRing, open } from '../../runtime/sealing/index.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { assertCallable } from '../queue/repository.ts';
import { inputNotKept } from './kept.ts';
import { findInvocation, noInvocation } from './repository.ts';

/**
 * The request of an invocation once more, by the one who asks: the same service, plugin, arguments, trigger file and input. What was
 * masked in the history stays masked.
 * @throws TriggerFsError TFS_NOT_FOUND, TFS_NOT_KEPT (without the input), TFS_SEALED, and what `assertCallable` throws
 */
export async function replayOf(tx: Transaction, keys: KeyRing, principal: Principal, id: string): Promise<NewItem> {
  const invocation = await findInvocation(tx, principal, id);
  if (invocation === undefined) throw noInvocation(id);
  const { service, plugin, args, timeoutMs, triggerId } = invocation;
  if (!invocation.replayable) throw await inputNotKept(tx, principal, invocation);
  const [row] = await tx.rows<{ payload: Buffer | null }>(
    'select payload from triggerfs.invocations where team_id = $1 and id = $2 and day = $3::date',
    [principal.teamId, id, invocation.day],
  );
  const payload = row?.payload ?? null;
  const item: NewItem = {
    team: principal.teamId,
    source: 'api',
    caller: principal.identity,
    service,
    plugin,
    args: textsOf(args),
    payload: payload === null ? Buffer.alloc(0) : await open(keys, principal.teamId, payloadAad(principal.teamId, id), payload),
    ...(triggerId === null ? {} : { trigger: triggerId }),
    ...(timeoutMs === null ? {} : { timeoutMs }),
  };
  await assertCallable(tx, principal, item);
  return item;
}

function textsOf(args: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(args).map(([name, value]) => {
      if (typeof value === 'string') return [name, value];
      throw new TriggerFsError('TFS_INTERNAL', `the argument ${name} is no text in the history`);
    }),
  );
}
