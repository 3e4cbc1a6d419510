import { createHash, randomBytes } from 'node:crypto';
import { createSigner, createVerifier, type VerifierOptions } from 'fast-jwt';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { TriggerFsError } from '../protocol/errors.ts';

/** Who a token is for: the control-plane's API, or brokers and their gateways. One is never accepted by the other. */
export type Audience = 'triggerfs-api' | 'triggerfs-edge';

const ISSUER = 'triggerfs';
/** Header `typ` of access tokens (RFC 9068), so that no other signed JSON of ours passes as one. */
const TOKEN_TYPE = 'at+jwt';
const MAX_TOKEN_BYTES = 8192;

/** What every token says. */
export const Claims = Type.Object({
  iss: Type.Literal(ISSUER),
  aud: Type.Union([Type.Literal('triggerfs-api'), Type.Literal('triggerfs-edge')]),
  /** `token` is a session of an API token. `system` is the control-plane itself, which runs what was accepted for a team. */
  kind: Type.Union([Type.Literal('user'), Type.Literal('worker'), Type.Literal('token'), Type.Literal('system')]),
  /** Id of the user or worker; 0 of the system alone. */
  sub: Type.String({ pattern: '^(0|[1-9][0-9]{0,9})$' }),
  /** Id of the team; 0 is a session of an account alone, which only the control-plane takes. */
  team: Type.Integer({ minimum: 0 }),
  teamName: Type.String(),
  identity: Type.String(),
  role: Type.Union([
    Type.Literal('owner'),
    Type.Literal('admin'),
    Type.Literal('member'),
    Type.Literal('viewer'),
    Type.Literal('worker'),
    Type.Literal('account'),
    Type.Literal('system'),
  ]),
  /** `token_epoch` of the user or worker when the token was made; raising that revokes it. */
  epoch: Type.Integer({ minimum: 1 }),
  /** Session, kept through renewals; logging out revokes it. */
  sid: Type.String({ format: 'uuid' }),
  /** Only for kind `token`. */
  scopes: Type.Optional(Type.Array(Type.Union([Type.Literal('invoke'), Type.Literal('read'), Type.Literal('write')]))),
  /** Seconds since 1970: login, issue and end. */
  auth: Type.Integer(),
  iat: Type.Integer(),
  exp: Type.Integer(),
});
export type Claims = Static<typeof Claims>;

/** The claims that the signer does not add by itself. */
export type ClaimsInput = Omit<Claims, 'iss' | 'aud' | 'iat'>;

const ClaimsCheck = Compile(Claims);

/** Signs tokens with one Ed25519 key. */
export class TokenSigner {
  readonly kid: string;
  readonly #sign: (payload: Record<string, unknown>) => string;

  /** `privateKey` is PKCS#8 PEM. */
  constructor(kid: string, privateKey: string) {
    this.kid = kid;
    this.#sign = createSigner<Record<string, unknown>>({
      algorithm: 'EdDSA',
      key: privateKey,
      kid,
      iss: ISSUER,
      header: { alg: 'EdDSA', typ: TOKEN_TYPE },
    });
  }

  /** A token for one audience. */
  sign(claims: ClaimsInput, audience: Audience): string {
    return this.#sign({ ...claims, aud: audience });
  }
}

/** How tokens of an audience are verified; nothing is cached, so that an ended token is refused at once. */
export function verification(audience: Audience): Partial<VerifierOptions> & { algorithms: ['EdDSA'] } {
  return {
    algorithms: ['EdDSA'],
    allowedIss: ISSUER,
    allowedAud: audience,
    checkTyp: TOKEN_TYPE,
    requiredClaims: ['iss', 'aud', 'sub', 'exp', 'iat', 'sid', 'kind'],
    cache: false,
  };
}

/** The claims of a verified payload. @throws TriggerFsError TFS_UNAUTHENTICATED when they are not ours */
export function readClaims(payload: unknown): Claims {
  if (!ClaimsCheck.Check(payload) || !isConsistent(payload))
    throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the token has unexpected claims');
  return payload;
}

/** The system is nobody: it has no id, acts for a team, and is known to brokers alone. */
function isConsistent({ kind, sub, role, aud, team }: Claims): boolean {
  if (kind !== 'system') return sub !== '0' && role !== 'system';
  return sub === '0' && role === 'system' && aud === 'triggerfs-edge' && team > 0;
}

/** Verifies tokens of one audience against the current public keys, without asking anyone. */
export class TokenVerifier {
  readonly #audience: Audience;
  #verifiers: ReadonlyMap<string, (token: string) => unknown> = new Map();

  constructor(audience: Audience) {
    this.#audience = audience;
  }

  /** Replaces the keys: kid → SPKI PEM. Tokens of keys that are gone are refused from now on. */
  update(keys: ReadonlyMap<string, string>): void {
    this.#verifiers = new Map([...keys].map(([kid, key]) => [kid, createVerifier<string>({ ...verification(this.#audience), key })]));
  }

  /** Whether a token was signed with a key this verifier does not have (yet): time to read the keys again. */
  hasUnknownKey(token: string): boolean {
    const kid = keyIdOf(token);
    return kid !== null && !this.#verifiers.has(kid);
  }

  /** The claims of a good token. @throws TriggerFsError TFS_UNAUTHENTICATED */
  verify(token: string): Claims {
    const verifier = token.length > MAX_TOKEN_BYTES ? undefined : this.#verifiers.get(keyIdOf(token) ?? '');
    if (verifier === undefined) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the token is malformed or signed with an unknown key');
    let payload: unknown;
    try {
      payload = verifier(token);
    } catch (cause) {
      throw tokenError(cause);
    }
    return readClaims(payload);
  }
}

/** Says why a token was refused without repeating any of it. */
export function tokenError(cause: unknown): TriggerFsError {
  const expired = (cause as { code?: string }).code === 'FAST_JWT_EXPIRED';
  return new TriggerFsError('TFS_UNAUTHENTICATED', expired ? 'the token has expired' : 'the token is not valid here', { cause });
}

/** `kid` of a token's header, unverified; null when it is no token. */
export function keyIdOf(token: string): string | null {
  const end = token.indexOf('.');
  if (end <= 0 || end > 1024) return null;
  try {
    const header = JSON.parse(Buffer.from(token.slice(0, end), 'base64url').toString('utf8')) as { kid?: unknown } | null;
    return typeof header?.kid === 'string' ? header.kid : null;
  } catch {
    return null;
  }
}

/** Start of every API token, so that people and scanners recognise one. */
export const API_TOKEN_PREFIX = 'tfs_';

/** A new API token: prefix and 256 random bits. It is shown once; only its hash is kept. */
export function createApiToken(): string {
  return API_TOKEN_PREFIX + randomBytes(32).toString('base64url');
}

/** SHA-256 of a secret's text, as `api_tokens.token_hash` and `workers.token_hash` hold it. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
