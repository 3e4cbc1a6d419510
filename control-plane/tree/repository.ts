import type { Tree, TreeDirectory, TreeTrigger } from '../../protocol/http/tree.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso, visible } from '../sql.ts';

/**
 * The whole tree that the caller may see. The version is read first: a change during the reads gives a tree that looks
 * older than it is, and is simply read again.
 */
export async function readTree(tx: Transaction, principal: Principal): Promise<Tree> {
  const [version] = await tx.rows<{ version: number }>(
    'select version::float8 as version from triggerfs.config_version where team_id = $1',
    [principal.teamId],
  );
  const directories = await tx.rows<TreeDirectory>(
    `select d.id, d.path, d.mode, ${iso('d.updated_at')} as "updatedAt" from triggerfs.directories d where d.team_id = $1 order by d.path`,
    [principal.teamId],
  );
  const triggers = await tx.rows<TreeTrigger>(
    `select t.id, d.path || '/' || t.name as path, t.mode, t.plugin, s.name as service, t.args,
       coalesce(t.timeout_ms, s.timeout_ms, $4) as "timeoutMs", t.framing, t.durability, coalesce(h.hits, 0)::float8 as hits,
       ${iso('greatest(t.updated_at, h.last_hit_at)')} as "updatedAt"
     from triggerfs.triggers t
     join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
     left join triggerfs.services s on s.team_id = t.team_id and s.id = t.service_id
     left join triggerfs.trigger_hits h on h.team_id = t.team_id and h.trigger_id = t.id
     where t.team_id = $1 and ${visible('t', '$2', '$3')} order by path`,
    [principal.teamId, principal.id, isAdmin(principal), LIMITS.defaultTimeoutMs],
  );
  return { version: version?.version ?? 0, directories, triggers };
}
