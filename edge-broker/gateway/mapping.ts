import { TriggerFsError } from '../../protocol/errors.ts';
import { parseSource, type Source } from '../../protocol/http/gateway-source.ts';
import { isJson } from '../../runtime/json.ts';
import { MappedBody } from './mapped-body.ts';

/** Where payload and arguments of a service or hook come from. */
export interface Mapping {
  readonly payload: string;
  readonly args: Readonly<Record<string, string>>;
}

/** An HTTP request as a mapping sees it. */
export interface MappedRequest {
  readonly method: string;
  readonly query: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
  /** Address of the client. */
  readonly address: string;
}

/** What a plugin gets. */
export interface Mapped {
  readonly payload: Buffer;
  readonly args: Readonly<Record<string, string>>;
}

interface Compiled {
  readonly payload: Source;
  readonly args: readonly (readonly [name: string, source: Source, written: string])[];
}

const INTEGER = /^[+-]?\d{1,15}$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/;
const TRUTH: Readonly<Record<string, boolean>> = {
  true: true,
  false: false,
  '1': true,
  '0': false,
  on: true,
  off: false,
  yes: true,
  no: false,
};
const compiled = new WeakMap<Mapping, Compiled>();

/**
 * Takes payload and arguments out of a request. Nothing of it is evaluated: paths are keys and indexes, looked up one by one.
 * @throws TriggerFsError TFS_BAD_ARGUMENT naming what is missing or of another type; TFS_BAD_JSON, TFS_BAD_REQUEST, TFS_UNSUPPORTED_MEDIA
 */
export function mapRequest(mapping: Mapping, request: MappedRequest): Mapped {
  const { payload, args } = compile(mapping);
  const body = new MappedBody(request);
  const pairs = args.flatMap(([name, source, written]): [string, string][] => {
    const value = read(source, request, body);
    if (value === undefined || value === null) return missing(source, `the argument ${name}`, written).map((text) => [name, text]);
    return [[name, convert(value, source, `the argument ${name}`, written)]];
  });
  return { payload: readPayload(payload, mapping.payload, request, body), args: Object.fromEntries(pairs) };
}

/** A mapping is compiled once for as long as its service stays as it is. */
function compile(mapping: Mapping): Compiled {
  const known = compiled.get(mapping);
  if (known !== undefined) return known;
  const made: Compiled = {
    payload: sourceOf(mapping.payload),
    args: Object.entries(mapping.args).map(([name, written]) => [name, sourceOf(written), written] as const),
  };
  compiled.set(mapping, made);
  return made;
}

function sourceOf(text: string): Source {
  const source = parseSource(text);
  if (source === null)
    throw new TriggerFsError('TFS_BAD_REQUEST', `the service reads from ${JSON.stringify(text)}, which is no place in a request`);
  return source;
}

function readPayload(source: Source, written: string, request: MappedRequest, body: MappedBody): Buffer {
  if (source.place.from === 'none') return Buffer.alloc(0);
  if (source.place.from === 'body') return request.body;
  const value = read(source, request, body);
  if (value === undefined || value === null) return Buffer.from(missing(source, 'the payload', written)[0] ?? '');
  // Part of a body that is no text is handed on as JSON.
  const type = source.type === 'text' && typeof value === 'object' ? 'json' : source.type;
  const text = convert(value, { ...source, type }, 'the payload', written);
  if (!text.isWellFormed()) throw new TriggerFsError('TFS_BAD_REQUEST', 'the payload contains half a character (a lone surrogate)');
  return Buffer.from(text);
}

/** The value at a place: anything JSON knows, a list for what is there twice, undefined for what is not there. */
function read({ place }: Source, { method, query, headers, body: bytes, address }: MappedRequest, body: MappedBody): unknown {
  switch (place.from) {
    case 'const':
      return place.text;
    case 'method':
      return method;
    case 'address':
      return address;
    case 'query':
      return own(query, place.name);
    case 'header':
      return own(headers, place.name);
    case 'form':
      return body.field(place.name);
    case 'path':
      return place.steps.reduce<unknown>(own, body.json());
    case 'body':
      return bytes.toString('utf8');
    case 'none':
      return undefined;
  }
}

function own(value: unknown, key: string | number): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value) && typeof key !== 'number') return undefined;
  return Object.hasOwn(value, key) ? (value as Readonly<Record<string | number, unknown>>)[key] : undefined;
}

/** Nothing, or the default. */
function missing({ optional, fallback }: Source, what: string, written: string): string[] {
  if (!optional) throw new TriggerFsError('TFS_BAD_ARGUMENT', `${what} is missing: the request has no ${written}`);
  return fallback === null ? [] : [fallback];
}

function convert(value: unknown, { type, place }: Source, what: string, written: string): string {
  const wrong = (expected: string): never => {
    throw new TriggerFsError('TFS_BAD_ARGUMENT', `${what} has to be ${expected}, and ${written} is ${kindOf(value)}`);
  };
  if (type === 'json' && typeof value === 'string' && place.from !== 'path') return isJson(value) ? value : wrong('JSON');
  if (type === 'json') return toJson(value, what);
  if (typeof value === 'object') return wrong(type === 'text' ? 'a text' : `of type ${type}`);
  const text = String(value);
  if (type === 'integer') return INTEGER.test(text) ? String(Number(text)) : wrong('a whole number');
  if (type === 'number') return NUMBER.test(text) && Number.isFinite(Number(text)) ? String(Number(text)) : wrong('a number');
  if (type === 'boolean') return Object.hasOwn(TRUTH, text.toLowerCase()) ? String(TRUTH[text.toLowerCase()]) : wrong('true or false');
  return text;
}

function toJson(value: unknown, what: string): string {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch (cause) {
    throw new TriggerFsError('TFS_BAD_ARGUMENT', `${what} is nested too deeply`, { cause });
  }
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'there more than once, or a list';
  return typeof value === 'object' ? 'an object' : JSON.stringify(String(value).slice(0, 40));
}
