import { randomUUID } from 'node:crypto';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { WorkerView } from '../../protocol/http/worker.ts';
import { hashToken } from '../../runtime/tokens.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { ALIVE, Assignments, iso, oneOf } from '../sql.ts';

/** A worker with what decides who may change it. */
export interface WorkerRow extends WorkerView {
  readonly ownerId: number | null;
}

const WORKERS = `select w.id, w.identity, w.description, o.identity as owner, w.owner_id as "ownerId",
    case when p.sessions > 0 then 'ONLINE' else 'DISCONNECTED' end as state, coalesce(p.concurrency, 0) as concurrency,
    coalesce(p.running, 0)::integer as running, p.version, coalesce(p.plugins, '{}') as plugins,
    ${iso('w.created_at')} as "createdAt", ${iso('greatest(w.updated_at, p.since)')} as "updatedAt",
    array(select s.name from triggerfs.service_members m join triggerfs.services s on s.team_id = m.team_id and s.id = m.service_id
      where m.team_id = w.team_id and m.worker_id = w.id and (s.visibility <> 'local' or s.owner_id = $2) order by m.position) as services
  from triggerfs.workers w
  left join triggerfs.users o on o.id = w.owner_id
  left join lateral (
    select count(*) as sessions, max(p.concurrency) as concurrency, sum(p.running) as running, max(p.version) as version,
      max(p.since) as since,
      case when count(*) > 0 then (select q.plugins from triggerfs.presence q
        where q.team_id = w.team_id and q.worker_id = w.id order by q.since desc limit 1) end as plugins
    from triggerfs.presence p join triggerfs.brokers b on b.id = p.broker_id
    where p.team_id = w.team_id and p.worker_id = w.id and b.state <> 'down' and b.beat_at > now() - ${ALIVE}
  ) p on true
  where w.team_id = $1`;

/** Workers of a team. */
export function listWorkers(tx: Transaction, principal: Principal): Promise<WorkerRow[]> {
  return tx.rows<WorkerRow>(`${WORKERS} order by w.id`, [principal.teamId, principal.id]);
}

/** A worker by identity or id (a number is always an id). @throws TriggerFsError TFS_NOT_FOUND */
export async function findWorker(tx: Transaction, principal: Principal, name: string | number): Promise<WorkerRow> {
  const where = oneOf(name, 'w.identity', 'w.id', '$3');
  const [worker] = await tx.rows<WorkerRow>(`${WORKERS} and ${where}`, [principal.teamId, principal.id, name]);
  if (worker === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `the team has no worker ${name}`);
  return worker;
}

/** Makes a worker; returns its id and the token, of which only a hash is kept. */
export async function createWorker(
  tx: Transaction,
  principal: Principal,
  worker: { identity: string; description: string },
): Promise<{ id: number; token: string }> {
  const token = randomUUID();
  const [row] = await tx.rows<{ id: number }>(
    'insert into triggerfs.workers (team_id, identity, description, token_hash, owner_id) values ($1, $2, $3, $4, $5) returning id',
    [principal.teamId, worker.identity, worker.description, hashToken(token), principal.id],
  );
  return { id: (row as { id: number }).id, token };
}

/** Changes a worker. */
export async function changeWorker(
  tx: Transaction,
  teamId: number,
  id: number,
  change: { identity?: string; description?: string },
): Promise<void> {
  const assignments = new Assignments(teamId, id).set('identity', change.identity).set('description', change.description);
  await tx.run(`update triggerfs.workers set ${assignments.sql} where team_id = $1 and id = $2`, assignments.values);
}

/** Gives a worker another token and revokes what was made with the old one. */
export async function rotateToken(tx: Transaction, teamId: number, id: number): Promise<string> {
  const token = randomUUID();
  await tx.run('update triggerfs.workers set token_hash = $3, token_epoch = token_epoch + 1 where team_id = $1 and id = $2', [
    teamId,
    id,
    hashToken(token),
  ]);
  return token;
}

/** Deletes a worker. */
export async function deleteWorker(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.workers where team_id = $1 and id = $2', [teamId, id]);
}
