import { TriggerFsError } from '../../protocol/errors.ts';
import { type HookChange, type HookSettings, HTTP_DEFAULTS, type HttpChange, type HttpSettings } from '../../protocol/http/gateway.ts';
import { completeHook, completeHttp, hookProblem, httpProblem } from '../../protocol/http/gateway-check.ts';
import type { Transaction } from '../database.ts';

type Stored = Readonly<Record<string, unknown>>;

/** Settings whose entries are changed one by one. */
const ENTRIES: readonly string[] = ['args', 'statuses', 'headers'];

/** The HTTP settings of a service after a change, as its column holds them. @throws TriggerFsError TFS_BAD_REQUEST */
export async function changedHttp(tx: Transaction, teamId: number, id: number, change: HttpChange | null): Promise<Partial<HttpSettings>> {
  if (change === null) return {};
  const sql = 'select http from triggerfs.services where team_id = $1 and id = $2 for update';
  const [row] = await tx.rows<{ http: Stored }>(sql, [teamId, id]);
  const stored = merge(row?.http ?? {}, change as Stored) as Partial<HttpSettings>;
  refuse(httpProblem(completeHttp(stored)));
  return stored;
}

/** The settings of a hook after a change, as its column holds them. @throws TriggerFsError TFS_BAD_REQUEST */
export function changedHook(stored: Partial<HookSettings>, change: HookChange): Partial<HookSettings> {
  const changed = merge(stored as Stored, change as Stored) as Partial<HookSettings>;
  refuse(hookProblem(completeHook(changed)));
  return changed;
}

/** What was not changed from the default is not stored, so that a later version may have better ones. */
function merge(stored: Stored, change: Stored): Stored {
  const merged: Record<string, unknown> = { ...stored };
  for (const [field, value] of Object.entries(change)) {
    const next = value !== null && ENTRIES.includes(field) ? mergeEntries(stored[field], value) : value;
    if (next === null || isDefault(field, next)) delete merged[field];
    else merged[field] = next;
  }
  return merged;
}

function mergeEntries(stored: unknown, change: unknown): Stored | null {
  const entries = Object.entries({ ...(stored as Stored | undefined), ...(change as Stored) }).filter(([, value]) => value !== null);
  return entries.length === 0 ? null : Object.fromEntries(entries);
}

function isDefault(field: string, value: unknown): boolean {
  return Object.hasOwn(HTTP_DEFAULTS, field) && JSON.stringify((HTTP_DEFAULTS as unknown as Stored)[field]) === JSON.stringify(value);
}

function refuse(problem: string | null): void {
  if (problem !== null) throw new TriggerFsError('TFS_BAD_REQUEST', problem);
}
