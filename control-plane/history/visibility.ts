import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { visible } from '../sql.ts';
import type { Conditions } from './conditions.ts';

/** Services whose history the reader does not see. Names are in lower case. */
export interface Hidden {
  /** Local services of others. */
  readonly services: readonly string[];
  /** Local services of others that were deleted or renamed; what they ran until then stays theirs. */
  readonly gone: readonly { readonly name: string; readonly goneAt: Date }[];
}

/** Who sees a service sees its history; of a local service that is its owner. */
export async function hiddenFrom(tx: Transaction, principal: Principal): Promise<Hidden> {
  const viewer = [principal.teamId, principal.id, isAdmin(principal)];
  const services = await tx.rows<{ name: string }>(
    `select lower(s.name) as name from triggerfs.services s where s.team_id = $1 and not ${visible('s', '$2', '$3')}`,
    viewer,
  );
  const gone = await tx.rows<{ name: string; goneAt: Date }>(
    `select g.name, g.gone_at as "goneAt" from triggerfs.gone_services g
     where g.team_id = $1 and not (g.owner_id is not distinct from $2::integer or (g.owner_id is null and $3::boolean))`,
    viewer,
  );
  return { services: services.map(({ name }) => name), gone };
}

/** Adds conditions that leave out what is hidden. `service` and `at` name columns. */
export function leaveOut(hidden: Hidden, conditions: Conditions, service: string, at: string): void {
  if (hidden.services.length > 0) conditions.add(`lower(${service}) <> all(${conditions.bind(hidden.services)}::text[])`);
  if (hidden.gone.length === 0) return;
  const names = conditions.bind(hidden.gone.map(({ name }) => name));
  const times = conditions.bind(hidden.gone.map(({ goneAt }) => goneAt));
  conditions.add(
    `not exists (select from unnest(${names}::text[], ${times}::timestamptz[]) gone (name, gone_at)
       where gone.name = lower(${service}) and ${at} <= gone.gone_at)`,
  );
}
