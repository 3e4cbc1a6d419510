import type { Pool } from 'pg';
import type { HistoryLevel } from '../../protocol/history-level.ts';
import { HTTP_DEFAULTS } from '../../protocol/http/gateway.ts';
import type { FleetConfig } from './fleet.ts';
import { loadHooks, readHttp } from './http-config.ts';
import {
  type ApiTokenConfig,
  type MemberConfig,
  parseQuota,
  type RedactionConfig,
  type ServiceConfig,
  type TeamConfig,
  type TriggerConfig,
  type WorkerConfig,
} from './team.ts';

/** Versions of all teams (0 is the fleet). */
export async function loadVersions(pool: Pool): Promise<Map<number, number>> {
  const { rows } = await pool.query<{ team_id: number; version: string }>('select team_id, version from triggerfs.config_version');
  return new Map(rows.map((row) => [row.team_id, Number(row.version)]));
}

/**
 * Loads one team; null when it is gone. The version is read first: a change during the reads
 * gives a snapshot that looks older than it is, and is simply read again.
 */
export async function loadTeam(pool: Pool, teamId: number): Promise<TeamConfig | null> {
  const { rows } = await pool.query<{ name: string; version: string | null }>(
    `select t.name, v.version from triggerfs.teams t left join triggerfs.config_version v on v.team_id = t.id where t.id = $1`,
    [teamId],
  );
  const team = rows[0];
  if (team === undefined) return null;
  const [members, workers, services, hooks, apiTokens, triggers, redactions, residents] = await Promise.all([
    loadMembers(pool, teamId),
    loadWorkers(pool, teamId),
    loadServices(pool, teamId),
    loadHooks(pool, teamId),
    loadApiTokens(pool, teamId),
    loadTriggers(pool, teamId),
    loadRedactions(pool, teamId),
    loadResidents(pool, teamId),
  ]);
  for (const worker of workers.values()) services.set(worker.identity.toLowerCase(), workerAsService(teamId, worker));
  const version = Number(team.version ?? 0);
  return { id: teamId, name: team.name, version, members, workers, services, hooks, apiTokens, triggers, redactions, residents };
}

/** Loads what concerns all teams. Channel and signing keys that have ended are left out. */
export async function loadFleet(pool: Pool): Promise<FleetConfig> {
  const version = await pool.query<{ version: string }>('select version from triggerfs.config_version where team_id = 0');
  const [brokers, channelKeys, signingKeys, revoked, maintenances] = await Promise.all([
    pool.query<{ id: string; endpoint: string; public_key: string; region: string }>(
      `select id, endpoint, public_key, region from triggerfs.brokers where state = 'up' and beat_at > now() - interval '1 minute' order by started_at`,
    ),
    pool.query<{ public_key: string; expires_at: Date }>(
      'select public_key, expires_at from triggerfs.channel_keys where expires_at > now()',
    ),
    pool.query<{ kid: string; public_key: string }>('select kid, public_key from triggerfs.signing_keys'),
    pool.query<{ session_id: string }>('select session_id from triggerfs.revoked_sessions where expires_at > now()'),
    pool.query<{ id: number; ms: number }>(
      `select id, extract(epoch from starts_at - now())::float8 * 1000 as ms from triggerfs.maintenances where starts_at > now() - interval '1 minute'`,
    ),
  ]);
  return {
    version: Number(version.rows[0]?.version ?? 0),
    brokers: brokers.rows.map((row) => ({ id: row.id, endpoint: row.endpoint, publicKey: row.public_key, region: row.region })),
    channelKeys: new Map(channelKeys.rows.map((row) => [row.public_key, row.expires_at.getTime()])),
    signingKeys: new Map(signingKeys.rows.map((row) => [row.kid, row.public_key])),
    revokedSessions: new Set(revoked.rows.map((row) => row.session_id)),
    maintenances: maintenances.rows.map((row) => ({ id: row.id, startsAt: Date.now() + row.ms })),
  };
}

async function loadMembers(pool: Pool, teamId: number): Promise<Map<number, MemberConfig>> {
  const { rows } = await pool.query<MemberConfig>(
    `select u.id as "userId", u.identity, m.role, u.active, u.token_epoch as epoch
     from triggerfs.memberships m join triggerfs.users u on u.id = m.user_id where m.team_id = $1`,
    [teamId],
  );
  return new Map(rows.map((row) => [row.userId, row]));
}

async function loadWorkers(pool: Pool, teamId: number): Promise<Map<number, WorkerConfig>> {
  const { rows } = await pool.query<WorkerConfig>(
    'select id, identity, token_epoch as epoch from triggerfs.workers where team_id = $1 order by id',
    [teamId],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

interface ServiceRow {
  readonly id: number;
  readonly name: string;
  readonly algorithm: 'roundrobin' | 'serial' | 'mirror';
  readonly timeout_ms: number;
  readonly window: string;
  readonly max_errors: string;
  readonly failover: 'unstarted' | 'always';
  readonly queue_limit: number;
  readonly visibility: 'local' | 'team' | 'public';
  readonly owner_id: number | null;
  readonly plugins: string[] | null;
  readonly history: HistoryLevel;
  readonly worker_ids: number[];
  readonly http: unknown;
}

async function loadServices(pool: Pool, teamId: number): Promise<Map<string, ServiceConfig>> {
  const { rows } = await pool.query<ServiceRow>(
    `select s.id, s.name, s.algorithm, s.timeout_ms, s."window", s.max_errors, s.failover, s.queue_limit, s.visibility, s.owner_id, s.plugins, s.history,
       s.http,
       coalesce(array_agg(m.worker_id order by m.position) filter (where m.worker_id is not null), '{}') as worker_ids
     from triggerfs.services s left join triggerfs.service_members m on m.team_id = s.team_id and m.service_id = s.id
     where s.team_id = $1 group by s.team_id, s.id`,
    [teamId],
  );
  return new Map(rows.map((row) => [row.name.toLowerCase(), serviceOf(teamId, row)]));
}

function serviceOf(teamId: number, row: ServiceRow): ServiceConfig {
  return {
    key: `s${row.id}`,
    teamId,
    name: row.name,
    algorithm: row.algorithm,
    timeoutMs: row.timeout_ms,
    window: parseQuota(row.window),
    maxErrors: parseQuota(row.max_errors),
    failover: row.failover,
    queueLimit: row.queue_limit,
    visibility: row.visibility,
    ownerId: row.owner_id,
    plugins: row.plugins === null ? null : new Set(row.plugins),
    workerIds: row.worker_ids,
    history: row.history,
    http: readHttp(row.http),
  };
}

/** A worker addressed by its identity: a service of its own with the defaults. */
function workerAsService(teamId: number, worker: WorkerConfig): ServiceConfig {
  return {
    key: `w${worker.id}`,
    teamId,
    name: worker.identity,
    algorithm: 'direct',
    timeoutMs: 30_000,
    window: { count: 1 },
    maxErrors: { count: 1 },
    failover: 'unstarted',
    queueLimit: 10_000,
    visibility: 'team',
    ownerId: null,
    plugins: null,
    workerIds: [worker.id],
    history: 'output',
    http: HTTP_DEFAULTS,
  };
}

async function loadApiTokens(pool: Pool, teamId: number): Promise<Map<string, ApiTokenConfig>> {
  const { rows } = await pool.query<{ id: number; user_id: number; hash: string; scopes: string[]; expires_at: Date | null }>(
    `select id, user_id, encode(token_hash, 'hex') as hash, scopes, expires_at from triggerfs.api_tokens where team_id = $1`,
    [teamId],
  );
  return new Map(
    rows.map((row) => [row.hash, { id: row.id, userId: row.user_id, scopes: row.scopes, expiresAt: row.expires_at?.getTime() ?? null }]),
  );
}

async function loadTriggers(pool: Pool, teamId: number): Promise<Map<number, TriggerConfig>> {
  const { rows } = await pool.query<{ id: number; history: HistoryLevel | null; service_id: number | null; plugin: string | null }>(
    'select id, history, service_id, plugin from triggerfs.triggers where team_id = $1',
    [teamId],
  );
  return new Map(
    rows.map(({ id, history, service_id, plugin }) => [id, { history, service: service_id === null ? null : `s${service_id}`, plugin }]),
  );
}

async function loadResidents(pool: Pool, teamId: number): Promise<Map<number, number>> {
  const { rows } = await pool.query<{ worker_id: number; n: number }>(
    'select worker_id, count(*)::integer as n from triggerfs.schedule_holds where team_id = $1 and closed_at is null group by worker_id',
    [teamId],
  );
  return new Map(rows.map((row) => [row.worker_id, row.n]));
}

async function loadRedactions(pool: Pool, teamId: number): Promise<RedactionConfig[]> {
  return (await pool.query<RedactionConfig>('select name, word from triggerfs.redactions where team_id = $1 order by name', [teamId])).rows;
}
