import { type Static, Type } from 'typebox';
import { LIMITS } from '../limits.ts';
import { CLOSED, Description, DispatchAlgorithm, NameText, Origin, PluginText, Visibility } from './common.ts';
import { HookSettings, HttpChange, HttpSettings } from './gateway.ts';

/** `2`, or `25%` of the attached workers. */
const Quota = Type.String({ pattern: '^([1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$' });
const ErrorQuota = Type.String({ pattern: '^(0|[1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$' });
const Failover = Type.Union([Type.Literal('unstarted'), Type.Literal('always')]);
const History = Type.Union([Type.Literal('off'), Type.Literal('meta'), Type.Literal('output')]);
const Plugins = Type.Array(PluginText, { maxItems: 1000, uniqueItems: true });

const SETTINGS = {
  algorithm: DispatchAlgorithm,
  timeoutMs: Type.Integer({ minimum: LIMITS.minTimeoutMs, maximum: LIMITS.maxTimeoutMs }),
  /** serial: how many workers at once, and after how many errors to stop. */
  window: Quota,
  maxErrors: ErrorQuota,
  /** `always`: a started run whose worker is lost starts again elsewhere; only for idempotent plugins. */
  failover: Failover,
  queueLimit: Type.Integer({ minimum: 0, maximum: 1_000_000 }),
  /** How many of a team's queued invocations run at once; null means 200. */
  queueConcurrency: Type.Union([Type.Integer({ minimum: 1, maximum: 100_000 }), Type.Null()]),
  visibility: Visibility,
  /** Plugins that may be called; null means every plugin of the workers. */
  plugins: Type.Union([Plugins, Type.Null()]),
  history: History,
} as const;

/** A service with the names of its workers (in attach order) and of the trigger files that use it. */
export const ServiceView = Type.Object({
  ...Origin,
  name: Type.String(),
  ...SETTINGS,
  workers: Type.Array(Type.String()),
  triggers: Type.Array(Type.String()),
  /** How it answers over HTTP. */
  http: HttpSettings,
  /** Its webhooks, without their secrets. */
  hooks: Type.Array(Type.Object({ name: Type.String(), ...HookSettings.properties })),
});
export type ServiceView = Static<typeof ServiceView>;

const CHANGES = { ...Type.Partial(Type.Object(SETTINGS)).properties, http: Type.Optional(HttpChange) } as const;

/** Body of `POST /v1/services`. */
export const ServiceCreate = Type.Object({ name: NameText, description: Type.Optional(Description), ...CHANGES }, CLOSED);

/** Body of `PATCH /v1/services/:name`. */
export const ServiceChange = Type.Object(
  { name: Type.Optional(NameText), description: Type.Optional(Description), ...CHANGES },
  { ...CLOSED, minProperties: 1 },
);
export type ServiceChange = Static<typeof ServiceChange>;

/** Body of `POST /v1/services/:name/workers`. */
export const ServiceWorker = Type.Object({ worker: Type.String({ minLength: 1, maxLength: 64 }) }, CLOSED);

/** Body of `POST /v1/services/:name/plugins`. */
export const ServicePlugin = Type.Object({ plugin: PluginText }, CLOSED);

/** A worker of a service. */
export const ServiceMember = Type.Object({
  /** 1 is the first that serial dispatch runs. */
  order: Type.Integer(),
  worker: Type.String(),
  state: Type.Union([Type.Literal('ONLINE'), Type.Literal('DISCONNECTED')]),
});
export type ServiceMember = Static<typeof ServiceMember>;
