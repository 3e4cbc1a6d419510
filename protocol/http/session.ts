import { type Static, Type } from 'typebox';
import { Role, Timestamp } from './common.ts';

/** Body of `POST /v1/login`: a user logs in to one team, or without a team to their account alone. */
export const LoginRequest = Type.Object(
  {
    team: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    identity: Type.String({ minLength: 1, maxLength: 254 }),
    secret: Type.String({ minLength: 1, maxLength: 1024 }),
  },
  { additionalProperties: false },
);
export type LoginRequest = Static<typeof LoginRequest>;

/** Body of `POST /v1/workers/login`: a worker logs in with the token from triggerfs.toml. */
export const WorkerLoginRequest = Type.Object(
  {
    team: Type.String({ minLength: 1, maxLength: 64 }),
    identity: Type.String({ minLength: 1, maxLength: 64 }),
    token: Type.String({ minLength: 1, maxLength: 128 }),
    /** Only brokers of this region are returned; all when absent. */
    region: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
);
export type WorkerLoginRequest = Static<typeof WorkerLoginRequest>;

/** A CURVE key pair, Z85. The secret half admits its holder to the brokers' port, nothing more. */
export const ChannelKey = Type.Object({ publicKey: Type.String(), secretKey: Type.String() });
export type ChannelKey = Static<typeof ChannelKey>;

/** A broker of the fleet. */
export const BrokerSchema = Type.Object({
  id: Type.String(),
  endpoint: Type.String(),
  publicKey: Type.String(),
  region: Type.String(),
});

/** Answer to both logins and to `POST /v1/renew` (which takes the still valid API token as bearer). */
export const SessionResponse = Type.Object({
  /** Bearer token for this API (audience `triggerfs-api`). */
  apiToken: Type.String(),
  /** Token for HELLO and for the HTTP gateway (audience `triggerfs-edge`). */
  edgeToken: Type.String(),
  /** Seconds since 1970 at which both tokens end. */
  expiresAt: Type.Integer(),
  team: Type.String(),
  identity: Type.String(),
  role: Type.String(),
  channelKey: ChannelKey,
  brokers: Type.Array(BrokerSchema),
  /** People only: letters in the mailboxes that they have not read. */
  unread: Type.Optional(Type.Integer()),
});
export type SessionResponse = Static<typeof SessionResponse>;

/** Answer to a login without a team: good for teams, invitations, sessions and the own mailbox, not for brokers. */
export const AccountSession = Type.Object({
  /** Bearer token for this API. */
  apiToken: Type.String(),
  /** Seconds since 1970 at which the token ends. */
  expiresAt: Type.Integer(),
  team: Type.Null(),
  identity: Type.String(),
  role: Type.Literal('account'),
  /** Teams to switch to. */
  teams: Type.Array(Type.Object({ id: Type.Integer(), name: Type.String(), role: Role })),
  /** Invitations that wait for an answer. */
  invitations: Type.Integer(),
  /** Letters that they have not read. */
  unread: Type.Integer(),
});
export type AccountSession = Static<typeof AccountSession>;

/** Answer to a login of a person; `team` tells which it is. */
export const LoginResponse = Type.Union([SessionResponse, AccountSession]);
export type LoginResponse = Static<typeof LoginResponse>;

/** Body of `POST /v1/switch`: null leaves all teams for the account alone. */
export const SwitchRequest = Type.Object(
  { team: Type.Union([Type.String({ minLength: 1, maxLength: 64 }), Type.Null()]) },
  { additionalProperties: false },
);

/** A session of the caller that still goes on. */
export const SessionView = Type.Object({
  id: Type.String(),
  /** Null: in no team. */
  team: Type.Union([Type.String(), Type.Null()]),
  address: Type.String(),
  agent: Type.String(),
  createdAt: Timestamp,
  usedAt: Timestamp,
  /** It is the one that asks. */
  current: Type.Boolean(),
});
export type SessionView = Static<typeof SessionView>;

/** Path of one session. */
export const SessionParams = Type.Object({ id: Type.String({ format: 'uuid' }) });

/** Body of `POST /v1/renew`; may be left out. */
export const RenewRequest = Type.Object(
  {
    /** Only brokers of this region are returned; all when absent. */
    region: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
);

/** Answer of `GET /v1/whoami`: what the caller's token is worth right now. */
export const Whoami = Type.Object({
  kind: Type.Union([Type.Literal('user'), Type.Literal('worker'), Type.Literal('token'), Type.Literal('account')]),
  id: Type.Integer(),
  identity: Type.String(),
  /** Null: in no team. */
  team: Type.Union([Type.String(), Type.Null()]),
  role: Type.String(),
  /** Null: not limited by scopes. */
  scopes: Type.Union([Type.Array(Type.String()), Type.Null()]),
  /** They operate the installation: announce maintenance. */
  operator: Type.Boolean(),
  /** People only: letters in the mailboxes that they have not read. */
  unread: Type.Optional(Type.Integer()),
});
export type Whoami = Static<typeof Whoami>;

/** Answer of `GET /v1/jwks.json` (RFC 7517, RFC 8037). */
export const JsonWebKeySet = Type.Object({
  keys: Type.Array(
    Type.Object({ kty: Type.String(), crv: Type.String(), x: Type.String(), kid: Type.String(), use: Type.String(), alg: Type.String() }),
  ),
});
