import { createHash } from 'node:crypto';
import type { HookSettings } from '../../../protocol/http/gateway.ts';
import { formOf } from '../mapped-body.ts';
import { type Delivery, decode, digestOf, type Expectation, header } from './signature.ts';

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'https:': '443', 'http:': '80' };
const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;|$)/i;

/**
 * Twilio signs the whole address it was given, followed by every field of the form in the order of their names. Of a JSON body it signs
 * the address alone, in whose query `bodySHA256` stands for the body.
 */
export function expectTwilio(delivery: Delivery, { url }: HookSettings): Expectation {
  const address = addressOf(delivery.url, url);
  const wanted = address.searchParams.get('bodySHA256');
  const fields = wanted === null ? signedFields(delivery) : '';
  // Without a hash only the fields of a form are signed. Any other body is anybody's: an address that ends in the fields of a signed form fits its signature.
  const whole =
    wanted === null
      ? isForm(delivery) || delivery.body.length === 0
      : wanted.toLowerCase() === createHash('sha256').update(delivery.body).digest('hex');
  return {
    given: whole ? decode([header(delivery, 'x-twilio-signature')], 'base64') : [],
    contents: spellings(delivery.url, url).map((text) => [text, fields]),
    digest: 'sha1',
    key: (secret) => secret,
    timestamp: null,
    identity: digestOf(address.search, fields, wanted ?? ''),
  };
}

/** An address that is configured has the query of the request, unless it has one of its own. */
function addressOf(asked: string, configured: string): URL {
  const address = new URL(configured === '' ? asked : configured);
  if (configured !== '' && address.search === '') address.search = new URL(asked).search;
  return address;
}

/** Twilio signs some requests with the port of the address and some without. */
function spellings(asked: string, configured: string): string[] {
  const text = configured === '' ? asked : configured.includes('?') ? configured : configured + (asked.match(/\?.*$/s)?.[0] ?? '');
  const [, scheme = '', host = '', rest = ''] = /^(https?:)\/\/([^/?#]*)(.*)$/s.exec(text) ?? [];
  const bare = host.replace(/:\d+$/, '');
  const port = /:(\d+)$/.exec(host)?.[1] ?? DEFAULT_PORTS[scheme];
  return [...new Set([text, `${scheme}//${bare}${rest}`, `${scheme}//${bare}:${port}${rest}`])];
}

function isForm({ headers }: Delivery): boolean {
  return FORM_TYPE.test(String(headers['content-type'] ?? ''));
}

function signedFields(delivery: Delivery): string {
  if (!isForm(delivery)) return '';
  const form = formOf(delivery.body);
  const names = [...new Set(form.keys())].sort();
  return names.flatMap((name) => [...new Set(form.getAll(name))].sort().map((value) => name + value)).join('');
}
