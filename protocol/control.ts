import { type Static, Type } from 'typebox';
import { ALGORITHMS } from './algorithms.ts';
import { INVOCATION_SOURCES } from './http/history.ts';
import { LIMITS } from './limits.ts';
import { NAME_PATTERN, PLUGIN_PATTERN } from './names.ts';

/**
 * Bodies of the JSON control records. Receivers check what less trusted peers send (HELLO, RENEW, ROUTE, ANNOUNCE)
 * against these schemas; what a broker sends is trusted, because CURVE proved the broker's key.
 */

const Name = Type.String({ pattern: NAME_PATTERN });
const Text = Type.String({ maxLength: 256 });

/** HELLO: who I am. Team, identity and rights come from the token alone. */
export const Hello = Type.Object(
  {
    /** Access token for brokers (audience `triggerfs-edge`). */
    token: Type.String({ maxLength: 8192 }),
    /** Program and version, for logs. */
    agent: Text,
    /** Ask for CHANGED records when the team's configuration changes. */
    watch: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type Hello = Static<typeof Hello>;

/** RENEW: a fresh token for the same identity, sent at half the life of the old one. */
export const Renew = Type.Object({ token: Type.String({ maxLength: 8192 }) }, { additionalProperties: false });
export type Renew = Static<typeof Renew>;

/** Who stands behind the requests of a route that the control-plane declares for them. */
export const RouteOrigin = Type.Object(
  {
    source: Type.Enum([...INVOCATION_SOURCES]),
    /** Identity; empty when nobody was logged in. */
    caller: Type.String({ maxLength: 254 }),
    schedule: Type.Optional(Type.Integer({ minimum: 1, maximum: 0x7fffffff })),
    /** Queue item that the requests are attempts of. Absent: each is the first attempt of the item that has the id of the invocation. */
    item: Type.Optional(Type.String({ maxLength: 36 })),
  },
  { additionalProperties: false },
);
export type RouteOrigin = Static<typeof RouteOrigin>;

/** ROUTE: a rule under a number, so that requests carry only the number. Never answered: a bad rule denies its requests. */
export const Route = Type.Object(
  {
    route: Type.Integer({ minimum: 1, maximum: 0xffffffff }),
    /** `service` or `team/service`. */
    service: Type.String({ maxLength: 128 }),
    plugin: Type.String({ maxLength: 128 }),
    args: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: LIMITS.argsBytes }))),
    /** Id of the trigger file that was written, for its hits. */
    trigger: Type.Optional(Type.Integer({ minimum: 1, maximum: 0x7fffffff })),
    /** Only from sessions of the control-plane; anybody else's session ends. */
    origin: Type.Optional(RouteOrigin),
  },
  { additionalProperties: false },
);
export type Route = Static<typeof Route>;

/** UNROUTE: the route's number is no longer used; running requests are not affected. */
export const Unroute = Type.Object({ route: Type.Integer({ minimum: 1 }) }, { additionalProperties: false });

/** A plugin as a worker announces it. */
export const AnnouncedPlugin = Type.Object(
  {
    name: Type.String({ pattern: PLUGIN_PATTERN }),
    version: Text,
    kind: Type.Union([Type.Literal('exec'), Type.Literal('resident'), Type.Literal('stream')]),
  },
  { additionalProperties: false },
);
export type AnnouncedPlugin = Static<typeof AnnouncedPlugin>;

/** ANNOUNCE: what a worker takes. Sent after WELCOME and again whenever it changes; the newest one counts. */
export const Announce = Type.Object(
  {
    /** Runs it takes at once. 0 asks for none (the worker drains). */
    concurrency: Type.Integer({ minimum: 0, maximum: 65536 }),
    services: Type.Array(Name, { maxItems: 4096 }),
    plugins: Type.Array(AnnouncedPlugin, { maxItems: 4096 }),
    version: Text,
  },
  { additionalProperties: false },
);
export type Announce = Static<typeof Announce>;

/** A broker as peers see it. */
export interface BrokerAddress {
  readonly id: string;
  /** `tcp://host:port`. */
  readonly endpoint: string;
  /** CURVE public key, Z85, 40 characters. */
  readonly publicKey: string;
  readonly region: string;
}

/** WELCOME: the session is open. */
export interface Welcome {
  readonly session: string;
  readonly broker: string;
  readonly role: 'client' | 'worker';
  readonly team: string;
  readonly identity: string;
  /** Milliseconds since 1970 at the broker. */
  readonly serverTime: number;
  readonly brokers: readonly BrokerAddress[];
}

/** REFUSED: the peer's last session-level record was not accepted. Fatal codes close the session. */
export interface Refused {
  readonly code: string;
  readonly message: string;
  /** True: connect anew and say HELLO again (the broker restarted, or the token ended). False: another HELLO will not help. */
  readonly hello: boolean;
}

/** BROKERS: the fleet changed; the full list. */
export interface Brokers {
  readonly brokers: readonly BrokerAddress[];
}

/** CHANGED: the team's configuration has this version now. */
export interface Changed {
  readonly version: number;
}

/** CONFIG: the services a worker is attached to. Sent after WELCOME and on every change; the worker answers ANNOUNCE. */
export interface WorkerConfig {
  readonly services: readonly string[];
  /** Schedules that name the worker as their resident. A worker that has none needs no journal. */
  readonly schedules?: number;
}

/** PLAN: what a worker's tasks with this number run. Always sent before the first TASK that uses it. */
export interface Plan {
  readonly plan: number;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  /** The service that was addressed, and the team and identity of the caller, for logs and for the plugin. */
  readonly service: string;
  readonly callerTeam: string;
  readonly caller: string;
}

/** Algorithms a service row may have; `direct` is implied by addressing a worker. */
export const ServiceAlgorithm = Type.Union(ALGORITHMS.filter((name) => name !== 'direct').map((name) => Type.Literal(name)));
