import { randomBytes, randomUUID } from 'node:crypto';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { HookChange, HookSettings, HookView } from '../../protocol/http/gateway.ts';
import { completeHook } from '../../protocol/http/gateway-check.ts';
import { seal, type TeamKeys } from '../../runtime/sealing/index.ts';
import type { Transaction } from '../database.ts';
import { iso } from '../sql.ts';
import { changedHook } from './http-settings.ts';

/** How long a replaced secret stays good when nothing is said. */
const KEEP_MINUTES = 1440;
const SECRET_BYTES = 32;

type StoredHook = Pick<HookView, 'id' | 'name' | 'service' | 'path' | 'secrets' | 'createdAt' | 'updatedAt'> & {
  readonly settings: Partial<HookSettings>;
};

const HOOKS = `select h.id, h.name, s.name as service, h.settings, '/v1/hooks/' || t.name || '/' || h.name as path,
    (select count(*)::integer from triggerfs.hook_secrets k where k.team_id = h.team_id and k.hook_id = h.id
      and (k.ends_at is null or k.ends_at > now())) as secrets,
    ${iso('h.created_at')} as "createdAt", ${iso('h.updated_at')} as "updatedAt"
  from triggerfs.hooks h join triggerfs.services s on s.team_id = h.team_id and s.id = h.service_id join triggerfs.teams t on t.id = h.team_id
  where h.team_id = $1 and h.service_id = $2`;

function view({ settings, ...row }: StoredHook): HookView {
  return { ...row, ...completeHook(settings) };
}

/** Hooks of a service by name. */
export async function listHooks(tx: Transaction, teamId: number, serviceId: number): Promise<HookView[]> {
  return (await tx.rows<StoredHook>(`${HOOKS} order by h.name`, [teamId, serviceId])).map(view);
}

/** A hook of a service. @throws TriggerFsError TFS_NOT_FOUND */
export async function findHook(tx: Transaction, teamId: number, serviceId: number, name: string): Promise<HookView> {
  const [hook] = await tx.rows<StoredHook>(`${HOOKS} and lower(h.name) = lower($3)`, [teamId, serviceId, name]);
  if (hook === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `the service has no hook ${name}`);
  return view(hook);
}

/**
 * Makes a hook, or changes the one of this name. True: it is new.
 * @throws TriggerFsError TFS_BAD_REQUEST; TFS_CONFLICT when another service has a hook of this name
 */
export async function putHook(tx: Transaction, teamId: number, serviceId: number, name: string, change: HookChange): Promise<boolean> {
  const [row] = await tx.rows<{ id: number; settings: Partial<HookSettings> }>(
    'select id, settings from triggerfs.hooks where team_id = $1 and service_id = $2 and lower(name) = lower($3) for update',
    [teamId, serviceId, name],
  );
  const settings = JSON.stringify(changedHook(row?.settings ?? {}, change));
  if (row === undefined) {
    await tx.run('insert into triggerfs.hooks (team_id, service_id, name, settings) values ($1, $2, $3, $4)', [
      teamId,
      serviceId,
      name,
      settings,
    ]);
  } else {
    await tx.run('update triggerfs.hooks set settings = $3 where team_id = $1 and id = $2', [teamId, row.id, settings]);
  }
  return row === undefined;
}

/** Deletes a hook with its secrets. @throws TriggerFsError TFS_NOT_FOUND */
export async function deleteHook(tx: Transaction, teamId: number, serviceId: number, name: string): Promise<void> {
  const sql = 'delete from triggerfs.hooks where team_id = $1 and service_id = $2 and lower(name) = lower($3)';
  if ((await tx.run(sql, [teamId, serviceId, name])) === 0) throw new TriggerFsError('TFS_NOT_FOUND', `the service has no hook ${name}`);
}

/** A new secret for a hook; the one before stays good for a while, older ones end. */
export interface NewSecret {
  readonly secret: string;
  readonly keepPreviousMinutes: number | undefined;
}

/** Gives a hook another secret, sealed with the team's key. */
export async function replaceSecret(
  tx: Transaction,
  keys: TeamKeys,
  teamId: number,
  hookId: number,
  { secret, keepPreviousMinutes = KEEP_MINUTES }: NewSecret,
): Promise<void> {
  const id = randomUUID();
  const sealed = seal(await keys.current(teamId), `hook-secret|${teamId}|${hookId}|${id}`, Buffer.from(secret));
  await tx.run('select from triggerfs.hooks where team_id = $1 and id = $2 for update', [teamId, hookId]);
  await tx.run('delete from triggerfs.hook_secrets where team_id = $1 and hook_id = $2 and (ends_at is not null or $3 = 0)', [
    teamId,
    hookId,
    keepPreviousMinutes,
  ]);
  await tx.run('update triggerfs.hook_secrets set ends_at = now() + make_interval(mins => $3) where team_id = $1 and hook_id = $2', [
    teamId,
    hookId,
    keepPreviousMinutes,
  ]);
  await tx.run('insert into triggerfs.hook_secrets (id, team_id, hook_id, sealed) values ($1, $2, $3, $4)', [id, teamId, hookId, sealed]);
}

/** Tells what a hook without a secret needs. */
export function needsSecret(service: string, hook: string): string {
  return `the hook ${hook} needs a secret: request service ${service} hook ${hook} secret`;
}

/** 256 random bits as hex, which every sender takes. */
export function createSecret(): string {
  return randomBytes(SECRET_BYTES).toString('hex');
}
