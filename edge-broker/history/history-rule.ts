import type { HistoryLevel } from '../../protocol/history-level.ts';
import type { InvocationSource } from '../../protocol/http/history.ts';
import { parseInvocationId } from '../../runtime/wire/invocation-id.ts';
import type { ServiceConfig, TeamConfig } from '../directory/team.ts';
import type { RouteEntry } from '../dispatch/route-entry.ts';

/** What the history says of every request on a route; made once for a route and a version of the directory. */
export interface HistoryRule {
  readonly level: Exclude<HistoryLevel, 'off'>;
  /** The caller's team. */
  readonly teamId: number;
  readonly source: InvocationSource;
  /** Identity of the caller; empty for nobody in particular. */
  readonly caller: string;
  /** `service`, or `team/service` when another team offers it. */
  readonly service: string;
  readonly plugin: string;
  readonly algorithm: string;
  /** Trigger file that was written; null for none. */
  readonly trigger: number | null;
  /** Schedule that fired; null for none. */
  readonly schedule: number | null;
  /** Item of the queue, as 16 bytes; `self` when it has the id of the invocation, null for none. */
  readonly item: Buffer | 'self' | null;
  /** Arguments of the plugin as JSON. */
  readonly args: string;
}

/** Text that PostgreSQL can store: without NUL and without halves of surrogate pairs. */
export function storable(text: string): string {
  return text.replaceAll('\u0000', '\ufffd').toWellFormed();
}

/** Arguments as JSON that PostgreSQL can store. */
export function argsJson(args: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(args).map(([name, value]) => [name, storable(value)])));
}

/**
 * What is kept of requests on a route; null for nothing. A trigger file has the say over its own messages only: over its service and
 * its plugin, whatever number a caller puts on other routes.
 */
export function historyRule(entry: RouteEntry, service: ServiceConfig, home: TeamConfig): HistoryRule | null {
  const trigger = home.triggers.get(entry.trigger);
  const ruled = trigger !== undefined && trigger.service === service.key && trigger.plugin === entry.plugin;
  const level = (ruled ? trigger.history : null) ?? service.history;
  if (level === 'off') return null;
  return {
    level,
    teamId: home.id,
    ...originOf(entry),
    service: service.teamId === home.id ? service.name : storable(entry.service),
    plugin: entry.plugin,
    algorithm: service.algorithm,
    trigger: trigger === undefined ? null : entry.trigger,
    args: argsJson(entry.args),
  };
}

function originOf(entry: RouteEntry): Pick<HistoryRule, 'source' | 'caller' | 'schedule' | 'item'> {
  const { origin, principal } = entry;
  if (origin !== null) {
    const item = origin.item === undefined ? 'self' : parseInvocationId(origin.item);
    return { source: origin.source, caller: storable(origin.caller), schedule: origin.schedule ?? null, item };
  }
  return { source: sourceOf(entry), caller: principal.identity, schedule: null, item: null };
}

function sourceOf({ principal, http, trigger }: RouteEntry): InvocationSource {
  if (principal.kind === 'system') return 'api';
  if (principal.kind === 'hook') return 'webhook';
  if (http) return 'http';
  return trigger === 0 ? 'client' : 'fs';
}
