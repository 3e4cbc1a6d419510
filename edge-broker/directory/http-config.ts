import type { Pool } from 'pg';
import { Compile } from 'typebox/compile';
import { HookSettings, HTTP_DEFAULTS, HttpSettings } from '../../protocol/http/gateway.ts';
import { completeHook, completeHttp, hookProblem, httpProblem } from '../../protocol/http/gateway-check.ts';
import type { HookConfig, SealedSecret } from './team.ts';

const HttpCheck = Compile(HttpSettings);
const HookCheck = Compile(HookSettings);

/** HTTP settings from a column that anybody's SQL may have written: what is not as it should be opens nothing. */
export function readHttp(stored: unknown): HttpSettings {
  const settings = completeHttp(stored as Partial<HttpSettings>);
  return HttpCheck.Check(settings) && httpProblem(settings) === null ? settings : HTTP_DEFAULTS;
}

interface HookRow {
  readonly id: number;
  readonly name: string;
  readonly service_id: number;
  readonly settings: Partial<HookSettings>;
}

interface SecretRow {
  readonly id: string;
  readonly hook_id: number;
  readonly sealed: Buffer;
  readonly ends_at: Date | null;
}

/** Hooks of a team by lower-case name; those whose settings are not as they should be are left out. */
export async function loadHooks(pool: Pool, teamId: number): Promise<Map<string, HookConfig>> {
  const [hooks, secrets] = await Promise.all([
    pool.query<HookRow>('select id, name, service_id, settings from triggerfs.hooks where team_id = $1', [teamId]),
    pool.query<SecretRow>(
      'select id, hook_id, sealed, ends_at from triggerfs.hook_secrets where team_id = $1 and (ends_at is null or ends_at > now())',
      [teamId],
    ),
  ]);
  const byHook = new Map<number, SealedSecret[]>();
  for (const { id, hook_id, sealed, ends_at } of secrets.rows) {
    const secret = { id, sealed, endsAt: ends_at?.getTime() ?? null };
    byHook.set(hook_id, [...(byHook.get(hook_id) ?? []), secret]);
  }
  const found = new Map<string, HookConfig>();
  for (const { id, name, service_id, settings: stored } of hooks.rows) {
    const settings = completeHook(stored);
    if (!HookCheck.Check(settings) || hookProblem(settings) !== null) continue;
    found.set(name.toLowerCase(), { id, teamId, name, service: `s${service_id}`, settings, secrets: byHook.get(id) ?? [] });
  }
  return found;
}
