import { Compile } from 'typebox/compile';
import { TriggerFsError } from '../../protocol/errors.ts';
import { InvokeBody } from '../../protocol/http/invocation.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { isArgumentName, isName, isPluginName } from '../../protocol/names.ts';
import { parseDuration } from '../../protocol/quantity.ts';
import type { InvokeRequest } from './caller-session.ts';
import { type MappedRequest, type Mapping, mapRequest } from './mapping.ts';

/** The parts of an HTTP request that say what to invoke. */
export interface InvokeParts {
  readonly team: string;
  readonly service: string;
  readonly query: Readonly<Record<string, unknown>>;
  readonly contentType: string;
  readonly body: Buffer;
}

const JSON_TYPE = /^application\/json\s*(;|$)/i;
const GZIP = [0x1f, 0x8b] as const;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const ARGUMENT_PREFIX = 'args.';
const BodyCheck = Compile(InvokeBody);

/**
 * Reads a request in one of two forms: with `plugin` in the query the body is the payload, whatever it is;
 * without, the body is a JSON object that says everything.
 * @throws TriggerFsError TFS_BAD_NAME, TFS_BAD_JSON, TFS_BAD_REQUEST, TFS_BAD_TIMEOUT, TFS_BAD_ARGUMENT, TFS_TOO_LARGE, TFS_UNSUPPORTED_MEDIA
 */
export function readInvokeRequest(parts: InvokeParts): InvokeRequest {
  for (const name of [parts.team, parts.service]) if (!isName(name)) fail('TFS_BAD_NAME', `${quote(name)} is not a name`);
  const raw = parts.query.plugin !== undefined;
  const { plugin, payload, args, timeout } = raw ? readQuery(parts.query, parts.body) : readBody(parts);
  if (!isPluginName(plugin)) fail('TFS_BAD_NAME', `${quote(plugin)} is not the name of a plugin`);
  if (payload.length > LIMITS.payloadBytes) fail('TFS_TOO_LARGE', `payload of ${payload.length} bytes, at most ${LIMITS.payloadBytes}`);
  checkArguments(args);
  return { service: `${parts.team}/${parts.service}`, plugin, payload, args, timeoutMs: timeout === undefined ? 0 : readTimeout(timeout) };
}

/** What a mapped request runs. */
export interface MappedTarget {
  readonly team: string;
  readonly service: string;
  readonly plugin: string;
  readonly mapping: Mapping;
}

/**
 * Reads a request by the mapping of a service or hook.
 * @throws TriggerFsError TFS_BAD_ARGUMENT naming what is missing, TFS_BAD_JSON, TFS_BAD_REQUEST, TFS_TOO_LARGE, TFS_UNSUPPORTED_MEDIA
 */
export function readMappedRequest({ team, service, plugin, mapping }: MappedTarget, request: MappedRequest): InvokeRequest {
  const { payload, args } = mapRequest(mapping, request);
  if (payload.length > LIMITS.payloadBytes) fail('TFS_TOO_LARGE', `payload of ${payload.length} bytes, at most ${LIMITS.payloadBytes}`);
  checkArguments(args);
  return { service: `${team}/${service}`, plugin, payload, args, timeoutMs: 0 };
}

interface Fields {
  readonly plugin: string;
  readonly payload: Buffer;
  readonly args: Readonly<Record<string, string>>;
  readonly timeout: string | undefined;
}

function readQuery(query: Readonly<Record<string, unknown>>, payload: Buffer): Fields {
  const args: [string, string][] = [];
  for (const [key, value] of Object.entries(query)) {
    if (typeof value !== 'string') fail('TFS_BAD_REQUEST', `${quote(key)} is in the query twice`);
    if (key.startsWith(ARGUMENT_PREFIX)) args.push([key.slice(ARGUMENT_PREFIX.length), value]);
    else if (key !== 'plugin' && key !== 'timeout') fail('TFS_BAD_REQUEST', `the query has an unknown parameter ${quote(key)}`);
  }
  return { plugin: query.plugin as string, payload, args: Object.fromEntries(args), timeout: query.timeout as string | undefined };
}

function readBody({ query, contentType, body }: InvokeParts): Fields {
  if (!JSON_TYPE.test(contentType)) {
    const given = contentType === '' ? 'a body without a Content-Type' : `a body of ${quote(contentType)}`;
    fail(
      'TFS_UNSUPPORTED_MEDIA',
      `${given} needs the plugin in the query (?plugin=NAME/NAME); without it the body must be application/json`,
    );
  }
  const [extra] = Object.keys(query);
  if (extra !== undefined) fail('TFS_BAD_REQUEST', `the query has ${quote(extra)}, but no plugin`);
  if (body.length === 0) fail('TFS_BAD_JSON', 'the body is empty; it should be such as {"plugin": "command/command", "command": "uptime"}');
  if (body[0] === GZIP[0] && body[1] === GZIP[1]) fail('TFS_UNSUPPORTED_MEDIA', 'the body is compressed; send it as it is');
  const value = parseJson(body);
  if (!BodyCheck.Check(value)) throw bodyError(value);
  const args = Object.entries(value.args ?? {}).map(([name, given]): [string, string] => [name, String(given)]);
  return { plugin: value.plugin, payload: readPayload(value), args: Object.fromEntries(args), timeout: value.timeout };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw new TriggerFsError('TFS_BAD_JSON', `the body is not JSON: ${(cause as Error).message.slice(0, 200)}`, { cause });
  }
}

function bodyError(value: unknown): TriggerFsError {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new TriggerFsError('TFS_BAD_JSON', 'the body is not a JSON object');
  const [first] = BodyCheck.Errors(value);
  const where = first?.instancePath.slice(1) ?? '';
  if (where === 'timeout') return new TriggerFsError('TFS_BAD_TIMEOUT', 'the timeout is not a text such as "10s"');
  const unknown = Object.keys(value).find((key) => !Object.hasOwn(InvokeBody.properties, key));
  if (unknown !== undefined) return new TriggerFsError('TFS_BAD_REQUEST', `the body has an unknown field ${quote(unknown)}`);
  return new TriggerFsError(
    'TFS_BAD_REQUEST',
    `the body${where === '' ? '' : `, field ${where},`} ${first?.message ?? 'is not as expected'}`,
  );
}

function readPayload({ payload, command, payloadBase64 }: InvokeBody): Buffer {
  const given = [payload, command, payloadBase64].filter((text) => text !== undefined);
  if (given.length > 1) fail('TFS_BAD_REQUEST', 'the body has more than one of payload, command and payloadBase64');
  const text = given[0] ?? '';
  if (payloadBase64 === undefined) {
    if (!text.isWellFormed()) fail('TFS_BAD_REQUEST', 'the payload contains half a character (a lone surrogate)');
    return Buffer.from(text);
  }
  if (text.length % 4 !== 0 || !BASE64.test(text)) fail('TFS_BAD_REQUEST', 'payloadBase64 is not base64');
  return Buffer.from(text, 'base64');
}

function checkArguments(args: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(args)) {
    if (!isArgumentName(name)) fail('TFS_BAD_ARGUMENT', `${quote(name)} is not the name of an argument`);
    if (value.includes('\0') || !value.isWellFormed())
      fail('TFS_BAD_ARGUMENT', `argument ${name} contains characters that no argument can have`);
  }
  if (Buffer.byteLength(JSON.stringify(args)) > LIMITS.argsBytes)
    fail('TFS_TOO_LARGE', `the arguments have more than ${LIMITS.argsBytes} bytes`);
}

function readTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms > LIMITS.maxTimeoutMs) fail('TFS_BAD_TIMEOUT', `${quote(text)} is no timeout`);
  return ms;
}

function fail(code: ConstructorParameters<typeof TriggerFsError>[0], message: string): never {
  throw new TriggerFsError(code, message);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}
