import { TriggerFsError } from '../../protocol/errors.ts';
import type { HookSettings, HttpChange } from '../../protocol/http/gateway.ts';
import { completeHook, completeHttp } from '../../protocol/http/gateway-check.ts';
import type { ServiceChange, ServiceMember, ServiceView } from '../../protocol/http/service.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { ALIVE, Assignments, iso, oneOf, visible } from '../sql.ts';
import { changedHttp } from './http-settings.ts';

/** A service with what decides who may change it. */
export interface ServiceRow extends ServiceView {
  readonly ownerId: number | null;
}

const SERVICES = `select s.id, s.name, s.description, s.algorithm, s.timeout_ms as "timeoutMs", s."window", s.max_errors as "maxErrors",
    s.failover, s.queue_limit as "queueLimit", s.queue_concurrency as "queueConcurrency", s.visibility, s.plugins, s.history, o.identity as owner, s.owner_id as "ownerId",
    ${iso('s.created_at')} as "createdAt", ${iso('s.updated_at')} as "updatedAt",
    array(select w.identity from triggerfs.service_members m join triggerfs.workers w on w.team_id = m.team_id and w.id = m.worker_id
      where m.team_id = s.team_id and m.service_id = s.id order by m.position) as workers,
    s.http as "storedHttp", (select coalesce(jsonb_agg(jsonb_build_object('name', h.name, 'settings', h.settings) order by h.name), '[]')
      from triggerfs.hooks h where h.team_id = s.team_id and h.service_id = s.id) as "storedHooks",
    array(select d.path || '/' || t.name from triggerfs.triggers t join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
      where t.team_id = s.team_id and t.service_id = s.id and ${visible('t', '$2', '$3')} order by 1) as triggers
  from triggerfs.services s left join triggerfs.users o on o.id = s.owner_id
  where s.team_id = $1 and ${visible('s', '$2', '$3')}`;

function viewer(principal: Principal): unknown[] {
  return [principal.teamId, principal.id, isAdmin(principal)];
}

/** What the database holds: of HTTP settings only what differs from a new service. */
type StoredService = Omit<ServiceRow, 'http' | 'hooks'> & {
  readonly storedHttp: Partial<ServiceView['http']>;
  readonly storedHooks: readonly { readonly name: string; readonly settings: Partial<HookSettings> }[];
};

function complete({ storedHttp, storedHooks, ...row }: StoredService): ServiceRow {
  const hooks = storedHooks.map(({ name, settings }) => ({ name, ...completeHook(settings) }));
  return { ...row, http: completeHttp(storedHttp), hooks };
}

/** Services that the caller sees. */
export async function listServices(tx: Transaction, principal: Principal): Promise<ServiceRow[]> {
  return (await tx.rows<StoredService>(`${SERVICES} order by s.id`, viewer(principal))).map(complete);
}

/** A service by name or id (a number is always an id). @throws TriggerFsError TFS_UNKNOWN_SERVICE */
export async function findService(tx: Transaction, principal: Principal, name: string | number): Promise<ServiceRow> {
  const where = oneOf(name, 's.name', 's.id', '$4');
  const [service] = await tx.rows<StoredService>(`${SERVICES} and ${where}`, [...viewer(principal), name]);
  if (service === undefined) throw new TriggerFsError('TFS_UNKNOWN_SERVICE', `the team has no service ${name}`);
  return complete(service);
}

/** Makes a service with defaults; it is seen only by its owner until its visibility is raised. Returns its id. */
export async function createService(tx: Transaction, principal: Principal, name: string): Promise<number> {
  const [row] = await tx.rows<{ id: number }>(
    `insert into triggerfs.services (team_id, name, visibility, owner_id) values ($1, $2, 'local', $3) returning id`,
    [principal.teamId, name, principal.id],
  );
  return (row as { id: number }).id;
}

/** Changes a service. @throws TriggerFsError TFS_BAD_REQUEST for HTTP settings that do not go together */
export async function changeService(tx: Transaction, teamId: number, id: number, change: ServiceChange): Promise<void> {
  const assignments = new Assignments(teamId, id)
    .set('name', change.name)
    .set('description', change.description)
    .set('algorithm', change.algorithm)
    .set('timeout_ms', change.timeoutMs)
    .set('window', change.window)
    .set('max_errors', change.maxErrors)
    .set('failover', change.failover)
    .set('queue_limit', change.queueLimit)
    .set('queue_concurrency', change.queueConcurrency)
    .set('visibility', change.visibility)
    .set('plugins', change.plugins)
    .set('history', change.history)
    .set('http', change.http === undefined ? undefined : JSON.stringify(await changedHttp(tx, teamId, id, change.http as HttpChange)));
  if (assignments.isEmpty) return;
  await tx.run(`update triggerfs.services set ${assignments.sql} where team_id = $1 and id = $2`, assignments.values);
}

/** Changes how a service answers over HTTP; null puts all of it back. @throws TriggerFsError TFS_BAD_REQUEST */
export async function changeHttp(tx: Transaction, teamId: number, id: number, change: HttpChange | null): Promise<void> {
  const http = JSON.stringify(await changedHttp(tx, teamId, id, change));
  await tx.run('update triggerfs.services set http = $3 where team_id = $1 and id = $2', [teamId, id, http]);
}

/** Deletes a service; its triggers stay without one. */
export async function deleteService(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.services where team_id = $1 and id = $2', [teamId, id]);
}

/** Workers of a service in attach order. */
export function listServiceWorkers(tx: Transaction, teamId: number, serviceId: number): Promise<ServiceMember[]> {
  return tx.rows<ServiceMember>(
    `select row_number() over (order by m.position)::integer as "order", w.identity as worker,
       case when exists (select from triggerfs.presence p join triggerfs.brokers b on b.id = p.broker_id
         where p.team_id = w.team_id and p.worker_id = w.id and b.state <> 'down' and b.beat_at > now() - ${ALIVE})
       then 'ONLINE' else 'DISCONNECTED' end as state
     from triggerfs.service_members m join triggerfs.workers w on w.team_id = m.team_id and w.id = m.worker_id
     where m.team_id = $1 and m.service_id = $2 order by m.position`,
    [teamId, serviceId],
  );
}

/** Attaches a worker as the last one. */
export async function attachWorker(tx: Transaction, teamId: number, serviceId: number, workerId: number): Promise<void> {
  await tx.run('insert into triggerfs.service_members (team_id, service_id, worker_id) values ($1, $2, $3)', [teamId, serviceId, workerId]);
}

/** Detaches a worker. False: it was not attached. */
export async function detachWorker(tx: Transaction, teamId: number, serviceId: number, workerId: number): Promise<boolean> {
  const sql = 'delete from triggerfs.service_members where team_id = $1 and service_id = $2 and worker_id = $3';
  return (await tx.run(sql, [teamId, serviceId, workerId])) > 0;
}
