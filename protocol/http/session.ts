import { type Static, Type } from 'typebox';

/** Body of `POST /v1/login`: a user logs in to one team. */
export const LoginRequest = Type.Object(
  {
    team: Type.String({ minLength: 1, maxLength: 64 }),
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
});
export type SessionResponse = Static<typeof SessionResponse>;

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
  kind: Type.Union([Type.Literal('user'), Type.Literal('worker'), Type.Literal('token')]),
  id: Type.Integer(),
  identity: Type.String(),
  team: Type.String(),
  role: Type.String(),
  /** Null: not limited by scopes. */
  scopes: Type.Union([Type.Array(Type.String()), Type.Null()]),
});
export type Whoami = Static<typeof Whoami>;

/** Answer of `GET /v1/jwks.json` (RFC 7517, RFC 8037). */
export const JsonWebKeySet = Type.Object({
  keys: Type.Array(
    Type.Object({ kty: Type.String(), crv: Type.String(), x: Type.String(), kid: Type.String(), use: Type.String(), alg: Type.String() }),
  ),
});
