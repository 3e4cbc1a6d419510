import { type Static, Type } from 'typebox';
import { ARGUMENT_PATTERN } from '../names.ts';
import { CLOSED, NameText, PluginText, Timestamp } from './common.ts';
import { MAX_SOURCE_LENGTH } from './gateway-source.ts';

/** HTTP methods that a service may be called with. HEAD comes with GET, OPTIONS is always answered. */
export const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
/** `60/m`: so many in a second, minute, hour or day, and as many at once. */
export const RATE_PATTERN = '^[1-9][0-9]{0,5}/[smhd]$';
/** `https://app.example.com`, or `*` for every origin. */
export const ORIGIN_PATTERN = '^(\\*|https?://[a-z0-9.\\[\\]:-]{1,255})$';
/** Entries that a service has at most. */
export const MAX_ARGUMENTS = 64;
export const MAX_STATUSES = 256;
export const MAX_HEADERS = 32;
/** A content type that answers may have. */
export const CONTENT_TYPE_PATTERN = '^[a-z]+/[A-Za-z0-9.+-]{1,100}(; ?charset=[A-Za-z0-9-]{1,32})?$';
/** Name of a header of answers. */
export const HEADER_PATTERN = '^[a-z][a-z0-9-]{0,62}$';
/** Value of a header: printable ASCII. */
export const HEADER_VALUE_PATTERN = '^[\\x21-\\x7e]([\\x20-\\x7e]{0,1022}[\\x21-\\x7e])?$';

const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);
const SourceText = Type.String({ minLength: 1, maxLength: MAX_SOURCE_LENGTH });
const Status = Type.Integer({ minimum: 200, maximum: 599 });

const SETTINGS = {
  methods: Type.Array(Type.Enum(METHODS), { minItems: 1, maxItems: 5, uniqueItems: true }),
  /** The plugin of mapped requests; null: requests name it, and nothing is mapped. */
  plugin: Nullable(PluginText),
  /** Where the payload comes from; see gateway-source.ts. */
  payload: SourceText,
  /** Where arguments come from, by name. */
  args: Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), SourceText, { maxProperties: MAX_ARGUMENTS, ...CLOSED }),
  /** Callers need no token; the service has to be public. */
  anonymous: Type.Boolean(),
  /** For each client address without a token. */
  rate: Type.String({ pattern: RATE_PATTERN }),
  /** For all client addresses without a token together. */
  rateTotal: Type.String({ pattern: RATE_PATTERN }),
  /** Web pages of these origins may call (CORS). */
  origins: Type.Array(Type.String({ pattern: ORIGIN_PATTERN }), { maxItems: 100, uniqueItems: true }),
  credentials: Type.Boolean(),
  /** `raw`: the plugin's output is the body. */
  answer: Type.Union([Type.Literal('json'), Type.Literal('raw')]),
  contentType: Type.String({ pattern: CONTENT_TYPE_PATTERN }),
  /** Status of raw answers by exit code; 0 is 200 and others 500 where absent. */
  statuses: Type.Record(Type.String({ pattern: '^(0|[1-9][0-9]{0,2})$' }), Status, { maxProperties: MAX_STATUSES, ...CLOSED }),
  /** Headers of raw answers. */
  headers: Type.Record(Type.String({ pattern: HEADER_PATTERN }), Type.String({ pattern: HEADER_VALUE_PATTERN }), {
    maxProperties: MAX_HEADERS,
    ...CLOSED,
  }),
} as const;

/** How a service answers over HTTP. */
export const HttpSettings = Type.Object(SETTINGS);
export type HttpSettings = Static<typeof HttpSettings>;

/** What a new service has. */
export const HTTP_DEFAULTS: HttpSettings = Object.freeze({
  methods: ['POST'],
  plugin: null,
  payload: 'body',
  args: {},
  anonymous: false,
  rate: '60/m',
  rateTotal: '600/m',
  origins: [],
  credentials: false,
  answer: 'json',
  contentType: 'text/plain; charset=utf-8',
  statuses: {},
  headers: {},
}) as HttpSettings;

/**
 * A change of the settings: what is absent stays, null goes back to the default. Of `args`, `statuses` and `headers` each entry is
 * changed by itself, and null takes one away.
 */
export const HttpChange = Type.Partial(
  Type.Object({
    ...Object.fromEntries(Object.entries(SETTINGS).map(([name, type]) => [name, Nullable(type)])),
    args: Nullable(Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), Nullable(SourceText), CLOSED)),
    statuses: Nullable(Type.Record(Type.String({ pattern: '^(0|[1-9][0-9]{0,2})$' }), Nullable(Status), CLOSED)),
    headers: Nullable(
      Type.Record(Type.String({ pattern: HEADER_PATTERN }), Nullable(Type.String({ pattern: HEADER_VALUE_PATTERN })), CLOSED),
    ),
  }),
  CLOSED,
);
export type HttpChange = { readonly [K in keyof HttpSettings]?: Entries<HttpSettings[K]> | null };

type Entries<T> = T extends Record<string, infer V> ? (T extends readonly unknown[] ? T : Readonly<Record<string, V | null>>) : T;

/** How the sender of a webhook proves who it is. */
export const HOOK_SCHEMES = ['github', 'stripe', 'slack', 'twilio', 'standard', 'hmac'] as const;

/** A hook's `delivery` when every signed request is a delivery of its own. */
export const NO_IDENTITY = 'none';

const HOOK = {
  scheme: Type.Enum(HOOK_SCHEMES),
  /** Null: the plugin of the service’s HTTP settings. */
  plugin: Nullable(PluginText),
  /** async: kept durably and answered 202; sync: run and answered as the service answers. */
  mode: Type.Union([Type.Literal('async'), Type.Literal('sync')]),
  payload: SourceText,
  args: Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), SourceText, { maxProperties: MAX_ARGUMENTS, ...CLOSED }),
  /** hmac: header that holds the signature. */
  header: Type.String({ pattern: HEADER_PATTERN }),
  /** hmac: what stands before the signature, such as `sha256=`. */
  prefix: Type.String({ pattern: '^[\\x21-\\x7e]{0,32}$' }),
  encoding: Type.Union([Type.Literal('hex'), Type.Literal('base64')]),
  digest: Type.Union([Type.Literal('sha1'), Type.Literal('sha256'), Type.Literal('sha512')]),
  /** hmac: header with the seconds since 1970, signed as `SECONDS.BODY`; empty: the body alone is signed. */
  timestamp: Type.String({ pattern: '^([a-z][a-z0-9-]{0,62})?$' }),
  /** hmac: header that tells deliveries apart, which is not signed; empty: what is signed does; `none`: nothing does, every request runs. */
  delivery: Type.String({ pattern: '^([a-z][a-z0-9-]{0,62})?$' }),
  /** Milliseconds that a signed time may be away from now. */
  toleranceMs: Type.Integer({ minimum: 1_000, maximum: 3_600_000 }),
  /** twilio: address that Twilio was given, where a proxy hides it; empty: the one that was asked for. */
  url: Type.String({ pattern: '^(https?://[\\x21-\\x7e]{1,1000})?$' }),
} as const;

/** How a hook works. */
export const HookSettings = Type.Object(HOOK);
export type HookSettings = Static<typeof HookSettings>;

/** What a new hook has. */
export const HOOK_DEFAULTS: HookSettings = Object.freeze({
  scheme: 'hmac',
  plugin: null,
  mode: 'async',
  payload: 'body',
  args: {},
  header: 'x-signature',
  prefix: '',
  encoding: 'hex',
  digest: 'sha256',
  timestamp: '',
  delivery: '',
  toleranceMs: 300_000,
  url: '',
}) as HookSettings;

/** Body of `PUT /v1/services/:name/hooks/:hook`, which makes the hook when it is not there: as HttpChange. */
export const HookChange = Type.Partial(
  Type.Object({
    ...Object.fromEntries(Object.entries(HOOK).map(([name, type]) => [name, Nullable(type)])),
    args: Nullable(Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), Nullable(SourceText), CLOSED)),
  }),
  CLOSED,
);
export type HookChange = { readonly [K in keyof HookSettings]?: Entries<HookSettings[K]> | null };

/** A hook of a service. Its secrets are never shown. */
export const HookView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  service: Type.String(),
  ...HOOK,
  /** Path at the gateway, `/v1/hooks/TEAM/NAME`. */
  path: Type.String(),
  /** Secrets that are good now: 0, 1, or 2 while one replaces the other. */
  secrets: Type.Integer(),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type HookView = Static<typeof HookView>;

/** Path parameters of a hook. */
export const HookParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 64 }), hook: NameText });

/** Body of `POST /v1/services/:name/hooks/:hook/secret`. */
export const HookSecret = Type.Object(
  {
    /** The sender’s; absent: one is made. Behind `whsec_` there must be something, or everybody would know the key. */
    secret: Type.Optional(Type.String({ minLength: 4, maxLength: 512, pattern: '^(?!whsec_(?![A-Za-z0-9+/]{4}))[\\s\\S]*[^\\s]{4}' })),
    /** How long the secret before stays good, so that the sender can be changed meanwhile. */
    keepPreviousMinutes: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_080 })),
  },
  CLOSED,
);

/** The new secret, shown only when it was made here. */
export const HookSecretMade = Type.Object({ hook: Type.String(), secret: Type.Union([Type.String(), Type.Null()]) });
