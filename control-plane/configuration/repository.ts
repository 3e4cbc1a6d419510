import { formatOperation } from '../../protocol/configuration/format.ts';
import type { ObjectName } from '../../protocol/configuration/operations.ts';
import { describeTeam } from '../../protocol/configuration/team.ts';
import type { CommitView, ConfigurationLock, PendingCommit } from '../../protocol/http/configuration.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { listDirectories } from '../directories/repository.ts';
import { listSchedules } from '../schedules/repository.ts';
import { listServices } from '../services/repository.ts';
import { iso, visible } from '../sql.ts';
import { currentTeam } from '../teams/repository.ts';
import { listTriggers } from '../triggers/repository.ts';
import { listWorkers } from '../workers/repository.ts';

/** What a commit adds to the log. */
export interface CommitEntry {
  readonly authorId: number | null;
  readonly author: string;
  readonly address: string;
  readonly kind: CommitView['kind'];
  readonly comment: string;
  readonly commands: readonly string[];
  /** Null: it needs no confirmation. */
  readonly confirmMinutes: number | null;
}

const COMMITS = `select c.id, ${iso('c.created_at')} as "createdAt", c.author, c.address, c.kind, c.state,
    ${iso('c.confirm_by')} as "confirmBy", c.comment, c.commands
  from triggerfs.configuration_commits c where c.team_id = $1`;

/** Where to look for one with exactly this name or path that is there and seen by the caller ($2, and $3 for admins). */
const NAMED: Readonly<Partial<Record<ObjectName, string>>> = {
  services: `triggerfs.services x where x.team_id = $1 and lower(x.name) = lower($4) and ${visible('x', '$2', '$3')}`,
  schedules: 'triggerfs.schedules x where x.team_id = $1 and lower(x.name) = lower($4)',
  directories: 'triggerfs.directories x where x.team_id = $1 and x.path = $4',
  triggers: `triggerfs.triggers x join triggerfs.directories d on d.team_id = x.team_id and d.id = x.directory_id
    where x.team_id = $1 and d.path || '/' || x.name = $4 and ${visible('x', '$2', '$3')}`,
};

/** Whether the caller sees an object with exactly this name or path. */
export async function existsNamed(tx: Transaction, principal: Principal, object: ObjectName, name: string): Promise<boolean> {
  const from = NAMED[object];
  if (from === undefined) return false;
  // The types say that $2 and $3 are there even where a table shows everything.
  const sql = `select from ${from} and $2::integer is not null and $3::boolean is not null`;
  return (await tx.rows(sql, [principal.teamId, principal.id, isAdmin(principal), name])).length > 0;
}

/** The configuration as far as the caller sees it, as commands. */
export async function readCommands(tx: Transaction, principal: Principal): Promise<readonly string[]> {
  const { description } = await currentTeam(tx, principal);
  const directories = await listDirectories(tx, principal.teamId);
  const workers = await listWorkers(tx, principal);
  const services = await listServices(tx, principal);
  const triggers = await listTriggers(tx, principal);
  const schedules = await listSchedules(tx, principal.teamId);
  return describeTeam({ description, directories, workers, services, triggers, schedules }).map(formatOperation);
}

/** Lets one commit, rollback or lock of a team work at a time, until the end of the transaction. */
export async function serialize(tx: Transaction, teamId: number): Promise<void> {
  await tx.rows(`select pg_advisory_xact_lock(hashtext('triggerfs.configuration'), $1)`, [teamId]);
}

/** Adds a commit to the log; returns its id and until when it waits for a confirmation. */
export async function insertCommit(tx: Transaction, teamId: number, entry: CommitEntry): Promise<{ id: number; confirmBy: string | null }> {
  const [row] = await tx.rows<{ id: number; confirmBy: string | null }>(
    `insert into triggerfs.configuration_commits (team_id, author_id, author, address, kind, comment, commands, state, confirm_by)
     values ($1, $2, $3, $4, $5, $6, $7, case when $8::integer is null then 'done' else 'pending' end, now() + make_interval(mins => $8::integer))
     returning id, ${iso('confirm_by')} as "confirmBy"`,
    [teamId, entry.authorId, entry.author, entry.address, entry.kind, entry.comment, entry.commands, entry.confirmMinutes],
  );
  return row as { id: number; confirmBy: string | null };
}

/** The commit that waits for its confirmation, with its author's id. */
export async function pendingCommit(
  tx: Transaction,
  teamId: number,
): Promise<(PendingCommit & { authorId: number | null; isDue: boolean }) | null> {
  const [pending] = await tx.rows<PendingCommit & { authorId: number | null; isDue: boolean }>(
    `select id, author, author_id as "authorId", ${iso('confirm_by')} as "confirmBy", confirm_by <= now() as "isDue"
     from triggerfs.configuration_commits where team_id = $1 and state = 'pending'`,
    [teamId],
  );
  return pending ?? null;
}

/** Whether a user is an owner of the team now; null is nobody. */
export async function isOwner(tx: Transaction, teamId: number, userId: number | null): Promise<boolean> {
  const sql = `select from triggerfs.memberships where team_id = $1 and user_id = $2 and role = 'owner'`;
  return (await tx.rows(sql, [teamId, userId])).length > 0;
}

/** Ends the waiting of a commit. */
export async function settleCommit(tx: Transaction, teamId: number, id: number, state: 'confirmed' | 'rolled-back'): Promise<void> {
  await tx.run('update triggerfs.configuration_commits set state = $3 where team_id = $1 and id = $2', [teamId, id, state]);
}

/** Commits, the newest first: all of them for admins, the caller's own for others, since commands name what only its owner sees. */
export function listCommits(tx: Transaction, principal: Principal, page: { before: number | null; limit: number }): Promise<CommitView[]> {
  return tx.rows<CommitView>(
    `${COMMITS} and ($2::boolean or c.author_id = $3) and ($4::integer is null or c.id < $4) order by c.id desc limit $5`,
    [principal.teamId, isAdmin(principal), principal.id, page.before, page.limit],
  );
}

/** Who holds the lock now. */
export async function currentLock(tx: Transaction, teamId: number): Promise<(ConfigurationLock & { holderId: number }) | null> {
  const [lock] = await tx.rows<ConfigurationLock & { holderId: number }>(
    `select holder, holder_id as "holderId", ${iso('expires_at')} as "expiresAt"
     from triggerfs.configuration_locks where team_id = $1 and expires_at > now()`,
    [teamId],
  );
  return lock ?? null;
}

/** Takes the lock, or keeps it for longer. */
export async function takeLock(tx: Transaction, principal: Principal, minutes: number): Promise<ConfigurationLock> {
  const [lock] = await tx.rows<ConfigurationLock>(
    `insert into triggerfs.configuration_locks (team_id, holder_id, holder, expires_at) values ($1, $2, $3, now() + make_interval(mins => $4))
     on conflict (team_id) do update set holder_id = excluded.holder_id, holder = excluded.holder, expires_at = excluded.expires_at
     returning holder, ${iso('expires_at')} as "expiresAt"`,
    [principal.teamId, principal.id, principal.identity, minutes],
  );
  return lock as ConfigurationLock;
}

/** Releases the lock. */
export async function releaseLock(tx: Transaction, teamId: number): Promise<void> {
  await tx.run('delete from triggerfs.configuration_locks where team_id = $1', [teamId]);
}
