import type { Algorithm } from '../../protocol/algorithms.ts';
import type { HistoryLevel } from '../../protocol/history-level.ts';
import type { HookSettings, HttpSettings } from '../../protocol/http/gateway.ts';

/** A member of a team, as far as a broker must know. */
export interface MemberConfig {
  readonly userId: number;
  readonly identity: string;
  readonly role: 'owner' | 'admin' | 'member' | 'viewer';
  readonly active: boolean;
  readonly epoch: number;
}

/** A worker of a team. */
export interface WorkerConfig {
  readonly id: number;
  readonly identity: string;
  readonly epoch: number;
}

/** A number of workers, or a share of those attached (`25%`). */
export type Quota = { readonly count: number } | { readonly percent: number };

/** A service, or (algorithm `direct`) a worker identity addressed as one. */
export interface ServiceConfig {
  /** Unique over services and workers: `s12` or `w12`. */
  readonly key: string;
  readonly teamId: number;
  readonly name: string;
  readonly algorithm: Algorithm;
  readonly timeoutMs: number;
  readonly window: Quota;
  readonly maxErrors: Quota;
  readonly failover: 'unstarted' | 'always';
  readonly queueLimit: number;
  readonly visibility: 'local' | 'team' | 'public';
  readonly ownerId: number | null;
  /** Plugins that may be called; null means all. */
  readonly plugins: ReadonlySet<string> | null;
  /** Ids of the attached workers in attach order. */
  readonly workerIds: readonly number[];
  /** What is kept of requests. */
  readonly history: HistoryLevel;
  /** How it answers over HTTP. */
  readonly http: HttpSettings;
}

/** A secret that the sender of a webhook signs with. */
export interface SealedSecret {
  readonly id: string;
  readonly sealed: Buffer;
  /** Milliseconds since 1970, null for the current one. */
  readonly endsAt: number | null;
}

/** A webhook. */
export interface HookConfig {
  readonly id: number;
  readonly teamId: number;
  readonly name: string;
  /** Key of its service. */
  readonly service: string;
  readonly settings: HookSettings;
  readonly secrets: readonly SealedSecret[];
}

/** A trigger file, as far as a broker must know. */
export interface TriggerConfig {
  /** What is kept of its messages; null for what the service keeps. */
  readonly history: HistoryLevel | null;
  /** `key` of the service and the plugin that it calls; null while it has none. */
  readonly service: string | null;
  readonly plugin: string | null;
}

/** A word of a team that must not be stored. */
export interface RedactionConfig {
  readonly name: string;
  /** Sealed. */
  readonly word: Buffer;
}

/** An API token; the key of the map it lives in is the hex SHA-256 of the token. */
export interface ApiTokenConfig {
  readonly id: number;
  readonly userId: number;
  readonly scopes: readonly string[];
  /** Milliseconds since 1970, null for no end. */
  readonly expiresAt: number | null;
}

/** Everything a broker knows about one team: one consistent snapshot, replaced as a whole. */
export interface TeamConfig {
  readonly id: number;
  readonly name: string;
  readonly version: number;
  readonly members: ReadonlyMap<number, MemberConfig>;
  readonly workers: ReadonlyMap<number, WorkerConfig>;
  /** By lower-case name; services and worker identities share one namespace. */
  readonly services: ReadonlyMap<string, ServiceConfig>;
  /** By lower-case name. */
  readonly hooks: ReadonlyMap<string, HookConfig>;
  readonly apiTokens: ReadonlyMap<string, ApiTokenConfig>;
  /** By id. */
  readonly triggers: ReadonlyMap<number, TriggerConfig>;
  readonly redactions: readonly RedactionConfig[];
  /** Schedules that workers keep or have not let go yet: how many, by the worker's id. */
  readonly residents: ReadonlyMap<number, number>;
}

/** Whether a service may be called without a token: it is public, and says which plugins may be called. */
export function isAnonymous({ http, visibility, plugins }: ServiceConfig): boolean {
  return http.anonymous && visibility === 'public' && plugins !== null;
}

/** Parses a quota column: `2` or `25%`. */
export function parseQuota(text: string): Quota {
  return text.endsWith('%') ? { percent: Number(text.slice(0, -1)) } : { count: Number(text) };
}

/** How many of `total` workers a quota means; a share rounds up, so that `1%` of ten is one. */
export function quotaOf(quota: Quota, total: number): number {
  return 'count' in quota ? quota.count : Math.ceil((quota.percent * total) / 100);
}
