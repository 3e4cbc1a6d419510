import { TriggerFsError } from '../errors.ts';
import {
  CONTENT_TYPE_PATTERN,
  HEADER_PATTERN,
  HEADER_VALUE_PATTERN,
  HOOK_DEFAULTS,
  HOOK_SCHEMES,
  HTTP_DEFAULTS,
  METHODS,
  ORIGIN_PATTERN,
  RATE_PATTERN,
} from '../http/gateway.ts';
import { parseSource } from '../http/gateway-source.ts';
import { isArgumentName, isPluginName } from '../names.ts';
import { parseDuration } from '../quantity.ts';

/** Value of a word as the API's bodies hold it. */
export type HttpValue = string | number | boolean | readonly string[];

/** A word after `http`, or after the name of a hook: `set services demo http rate 10/s`. */
export interface HttpWord {
  /** Its property in the API's bodies. */
  readonly field: string;
  /** Written once for each entry, `map to=$.number`; else it has one value. */
  readonly entries: boolean;
  readonly usage: string;
  readonly doc: string;
  readonly choices?: readonly string[];
  /** Entries: the part behind the `=`. @throws TriggerFsError TFS_USAGE */
  readonly parse: (text: string) => HttpValue;
  /** Entries: checks the part before the `=`. @throws TriggerFsError TFS_USAGE */
  readonly checkKey: (key: string) => string;
}

/** Most settings that go back to their defaults need no value to do so. */
export const HTTP_FIELDS: Readonly<Record<string, unknown>> = HTTP_DEFAULTS;
export const HOOK_FIELDS: Readonly<Record<string, unknown>> = HOOK_DEFAULTS;

const MAX_ORIGINS = 100;
const source = word('payload', 'body|none|$.path|form.NAME', 'Where the payload comes from', parsePlace);
const map = entries(
  'args',
  'ARG=$.path|form.NAME|query.NAME|header.NAME',
  'Where an argument of the plugin comes from',
  parsePlace,
  (key) => (isArgumentName(key) ? key : wrong(`${JSON.stringify(key)} is no name of an argument`)),
);
const plugin = word('plugin', 'NAME/NAME', 'Plugin that requests run, which are then mapped', (text) =>
  isPluginName(text) ? text : wrong(`${text} is no name of a plugin, such as command/command`),
);

/** Words after `set services NAME http`. `hook` has a grammar of its own, and `answer raw` may name a content type. */
export const HTTP_WORDS: Readonly<Record<string, HttpWord>> = {
  methods: word('methods', 'get,post', 'HTTP methods that may be used, with commas between', parseMethods),
  plugin,
  payload: source,
  map,
  anonymous: toggle('anonymous', 'Callers of the public service need no token'),
  rate: pattern('rate', '60/m', 'Requests of one address without a token', RATE_PATTERN),
  rate_total: pattern('rateTotal', '600/m', 'Requests of all addresses without a token', RATE_PATTERN),
  origins: word('origins', 'https://a.example,https://b.example', 'Web pages of these origins may call', parseOrigins),
  credentials: toggle('credentials', 'Those pages may send cookies and logins of the browser'),
  answer: choice('answer', 'raw: what the plugin prints is the answer (raw text/html: of this type)', ['json', 'raw']),
  type: pattern('contentType', 'text/html', 'Content type of raw answers', CONTENT_TYPE_PATTERN),
  status: entries('statuses', 'EXIT=STATUS', 'Status of raw answers by exit code', parseStatus, (key) =>
    /^(0|[1-9]\d{0,2})$/.test(key) ? key : wrong(`an exit code is a number from 0 to 255, not ${key}`),
  ),
  header: entries('headers', 'NAME=VALUE', 'Header of raw answers', parseHeaderValue, (key) => parseHeader(key.toLowerCase())),
};

/** Words after `set services NAME http hook NAME`. */
export const HOOK_WORDS: Readonly<Record<string, HttpWord>> = {
  scheme: choice('scheme', 'Whose signatures it checks', HOOK_SCHEMES),
  plugin,
  mode: choice('mode', 'async: answered 202 once it is kept; sync: once it ran', ['async', 'sync']),
  payload: source,
  map,
  header: word('header', 'x-signature', 'hmac: header with the signature', (text) => parseHeader(text.toLowerCase())),
  prefix: pattern('prefix', 'sha256=', 'hmac: what stands before the signature', '^[\\x21-\\x7e]{0,32}$'),
  encoding: choice('encoding', 'hmac: how the signature is written', ['hex', 'base64']),
  digest: choice('digest', 'hmac: hash of the signature', ['sha1', 'sha256', 'sha512']),
  timestamp: word('timestamp', 'x-timestamp', 'hmac: header with the seconds since 1970 that are signed, too', (text) =>
    parseHeader(text.toLowerCase()),
  ),
  delivery: word(
    'delivery',
    'x-delivery',
    'hmac: header that tells deliveries apart though it is not signed; none: every request runs',
    (text) => parseHeader(text.toLowerCase()),
  ),
  tolerance: word('toleranceMs', '5m', 'How far a signed time may be away', (text) => {
    const ms = parseDuration(text);
    return ms !== null && ms >= 1_000 && ms <= 3_600_000 ? ms : wrong(`a tolerance is a duration from 1s to 1h, not ${text}`);
  }),
  url: pattern('url', 'https://...', 'twilio: address that Twilio was given', '^https?://[\\x21-\\x7e]{1,1000}$'),
};

function word(field: string, usage: string, doc: string, parse: HttpWord['parse']): HttpWord {
  return { field, entries: false, usage, doc, parse, checkKey: String };
}

function entries(field: string, usage: string, doc: string, parse: HttpWord['parse'], checkKey: HttpWord['checkKey']): HttpWord {
  return { field, entries: true, usage, doc, parse, checkKey };
}

function choice(field: string, doc: string, choices: readonly string[]): HttpWord {
  const parse = (text: string): string =>
    choices.includes(text) ? text : wrong(`${field} is ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}, not ${text}`);
  return { ...word(field, choices.join('|'), doc, parse), choices };
}

function toggle(field: string, doc: string): HttpWord {
  const { parse, ...rest } = choice(field, doc, ['on', 'off']);
  return { ...rest, parse: (text) => parse(text) === 'on' };
}

function pattern(field: string, usage: string, doc: string, allowed: string): HttpWord {
  const check = new RegExp(allowed);
  return word(field, usage, doc, (text) => (check.test(text) ? text : wrong(`${JSON.stringify(text)} is not like ${usage}`)));
}

function parsePlace(text: string): string {
  if (parseSource(text) !== null) return text;
  return wrong(`${JSON.stringify(text)} is no place in a request: body, none, $.path, form.NAME, query.NAME, header.NAME or const:TEXT`);
}

function parseMethods(text: string): readonly string[] {
  const methods = text.toUpperCase().split(',');
  const known = methods.every((method) => METHODS.includes(method as (typeof METHODS)[number]));
  if (known && new Set(methods).size === methods.length) return METHODS.filter((method) => methods.includes(method));
  return wrong(`methods are ${METHODS.join(', ').toLowerCase()}, each once with commas between, not ${text}`);
}

function parseOrigins(text: string): readonly string[] {
  const origins = text.split(',');
  const bad = origins.find((origin) => !isOrigin(origin));
  if (bad !== undefined) return wrong(`${bad} is no origin, such as https://app.example.com`);
  if (origins.length > MAX_ORIGINS) return wrong(`there are at most ${MAX_ORIGINS} origins`);
  return [...new Set(origins)];
}

/** Whether a text is an origin as browsers send it, or `*`. */
export function isOrigin(text: string): boolean {
  if (text === '*') return true;
  return new RegExp(ORIGIN_PATTERN).test(text) && URL.parse(text)?.origin === text;
}

function parseStatus(text: string): number {
  const status = /^\d{3}$/.test(text) ? Number(text) : 0;
  return status >= 200 && status <= 599 ? status : wrong(`a status is a number from 200 to 599, not ${text}`);
}

function parseHeader(text: string): string {
  return new RegExp(HEADER_PATTERN).test(text) ? text : wrong(`${JSON.stringify(text)} is no name of a header`);
}

function parseHeaderValue(text: string): string {
  return new RegExp(HEADER_VALUE_PATTERN).test(text) ? text : wrong('a header has printable ASCII characters, without blanks at its ends');
}

function wrong(message: string): never {
  throw new TriggerFsError('TFS_USAGE', message);
}
