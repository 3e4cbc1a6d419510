import { TriggerFsError } from '../../protocol/errors.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import type { InvocationRow } from './repository.ts';

/**
 * What is kept now of requests like this one: the trigger file's own setting, else that of the service. Null when neither is there
 * (any more) or they are another team's.
 */
async function levelOf(tx: Transaction, { teamId }: Principal, { service, triggerId }: InvocationRow): Promise<string | null> {
  const [row] = await tx.rows<{ level: string | null }>(
    `select coalesce(
       (select t.history from triggerfs.triggers t where t.team_id = $1 and t.id = $3),
       (select s.history from triggerfs.services s where s.team_id = $1 and lower(s.name) = lower($2))) as level`,
    [teamId, service, triggerId],
  );
  return row?.level ?? null;
}

/**
 * @throws TriggerFsError TFS_NOT_KEPT when an invocation has or will have output that is not kept; says what to set.
 * `kept`: some of its output is there.
 */
export async function assertOutputKept(tx: Transaction, principal: Principal, invocation: InvocationRow, kept: boolean): Promise<void> {
  if (kept || (invocation.state === 'done' && invocation.outputBytes === 0)) return;
  const level = await levelOf(tx, principal, invocation);
  if (invocation.state === 'running' && (level === 'output' || level === null)) return;
  throw notKept(invocation, 'output', level);
}

/** The error for input or output that is not there. */
export async function inputNotKept(tx: Transaction, principal: Principal, invocation: InvocationRow): Promise<TriggerFsError> {
  return notKept(invocation, 'input', await levelOf(tx, principal, invocation));
}

function notKept({ id, service, trigger }: InvocationRow, what: string, level: string | null): TriggerFsError {
  const setting = trigger === null ? `set services ${service} history output` : `set triggers ${trigger} history output`;
  const now = level === null || level === 'output' ? '' : `, as the history of ${trigger ?? service} is ${level}`;
  return new TriggerFsError('TFS_NOT_KEPT', `the ${what} of ${id} was not kept${now}; "${setting}" keeps that of the next ones`);
}
