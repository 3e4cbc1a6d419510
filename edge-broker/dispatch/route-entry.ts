import type { RouteOrigin } from '../../protocol/control.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import type { HistoryRule } from '../history/history-rule.ts';
import type { Principal } from '../session/session.ts';
import type { ServiceState } from './service-state.ts';
import type { WorkerSession } from './worker-session.ts';

/** Where a route leads: a service, or the reason why it leads nowhere. */
export type RouteTarget =
  /** `history`: what is kept of requests; null for nothing. */
  | { readonly service: ServiceState; readonly denied: null; readonly history: HistoryRule | null }
  | { readonly service: null; readonly denied: { readonly code: ErrorCode; readonly message: string } };

/**
 * A rule that a caller has declared: service, plugin, arguments. Names and rights are resolved once for each
 * generation of the directory, so that requests on the route cost no lookup by name.
 */
export class RouteEntry {
  readonly principal: Principal;
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  /** Trigger file whose hits are counted; 0 for none. */
  readonly trigger: number;
  /** Who asked for it, when the control-plane calls for them; null otherwise. */
  readonly origin: RouteOrigin | null;
  /** The caller speaks HTTP with this broker's gateway. */
  readonly http: boolean;
  /** Workers that know this route as a plan. */
  readonly workers = new Set<WorkerSession>();
  /** The caller does not use it any more; runs that were waiting may still need it. */
  closed = false;
  #target: RouteTarget | null = null;
  #generation = 0;

  constructor(
    principal: Principal,
    rule: {
      service: string;
      plugin: string;
      args?: Readonly<Record<string, string>> | undefined;
      trigger?: number | undefined;
      origin?: RouteOrigin | undefined;
    },
    http: boolean,
  ) {
    this.principal = principal;
    this.service = rule.service;
    this.plugin = rule.plugin;
    this.args = rule.args ?? {};
    this.trigger = rule.trigger ?? 0;
    this.origin = rule.origin ?? null;
    this.http = http;
  }

  /** The target, resolved anew when the directory has changed since the last call. */
  target(generation: number, resolve: (entry: RouteEntry) => RouteTarget): RouteTarget {
    if (this.#target === null || this.#generation !== generation) {
      this.#target = resolve(this);
      this.#generation = generation;
    }
    return this.#target;
  }
}
