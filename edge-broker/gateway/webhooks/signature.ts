import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { HookSettings } from '../../../protocol/http/gateway.ts';

/** A request to a hook, as it came over the wire. */
export interface Delivery {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
  /** Address that the sender asked for, with its query; of a request through a proxy, the proxy's. */
  readonly url: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

/** What a good signature says. */
export interface Signed {
  /** Tells deliveries apart: the same again is the same text; null when the sender gives nothing to tell them by. */
  readonly identity: string | null;
}

/** Why a delivery is not believed. `stale` is only told to who has the secret. */
export type Refusal = 'missing' | 'wrong' | 'stale';

/** Signatures of a delivery that would be good, and how to tell it from others. */
export interface Expectation {
  /** Signatures that the sender gave, decoded. */
  readonly given: readonly Buffer[];
  /** Texts that may have been signed. */
  readonly contents: readonly (readonly (string | Buffer)[])[];
  readonly digest: HookSettings['digest'];
  /** Key of a secret. */
  readonly key: (secret: Buffer) => Buffer;
  /** Seconds since 1970 that are signed, too; null when there are none. */
  readonly timestamp: number | null;
  readonly identity: string | null;
}

/** Checks an expectation against all secrets that are good now. Takes as long whichever of them fits. */
export function checkSignature(
  expected: Expectation,
  secrets: readonly Buffer[],
  receivedAt: number,
  toleranceMs: number,
): Signed | Refusal {
  if (expected.given.length === 0) return 'missing';
  let fits = false;
  for (const secret of secrets) {
    const key = expected.key(secret);
    // Everybody has the empty key.
    if (key.length === 0) continue;
    for (const content of expected.contents) {
      const hmac = createHmac(expected.digest, key);
      for (const part of content) hmac.update(part);
      const wanted = hmac.digest();
      for (const given of expected.given) fits = isSame(given, wanted) || fits;
    }
  }
  if (!fits) return 'wrong';
  // NaN is within no tolerance.
  if (expected.timestamp !== null && !(Math.abs(receivedAt - expected.timestamp * 1000) <= toleranceMs)) return 'stale';
  return { identity: expected.identity };
}

/** A header that is there once; undefined otherwise. */
export function header({ headers }: Delivery, name: string): string | undefined {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}

/** Signatures, decoded; what is not of the encoding is left out. */
export function decode(texts: readonly (string | undefined)[], encoding: 'hex' | 'base64'): Buffer[] {
  const form = encoding === 'hex' ? /^[0-9a-f]{32,128}$/i : /^[A-Za-z0-9+/]{24,88}={0,2}$/;
  return texts.flatMap((text) => (text !== undefined && form.test(text) ? [Buffer.from(text, encoding)] : []));
}

/** Seconds since 1970; NaN, which is never within any tolerance, for what is no such number. */
export function seconds(text: string | undefined): number {
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
}

/** Hex SHA-256. */
export function digestOf(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
