import { TriggerFsError } from '../../protocol/errors.ts';
import { QUEUE_LIMITS, type QueueRequest } from '../../protocol/http/queue.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { parseDuration } from '../../protocol/quantity.ts';
import type { NewItem } from '../../runtime/acceptance/new-item.ts';
import type { Principal } from '../auth/principal.ts';

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * What a request asks to accept for its caller.
 * @throws TriggerFsError TFS_BAD_REQUEST, TFS_BAD_TIMEOUT, TFS_BAD_ARGUMENT, TFS_TOO_LARGE
 */
export function readQueueRequest(body: QueueRequest, principal: Principal, idempotencyKey: string | undefined): NewItem {
  const args = Object.entries(body.args ?? {}).map(([name, value]): [string, string] => [name, String(value)]);
  if (Buffer.byteLength(JSON.stringify(args)) > LIMITS.argsBytes)
    fail('TFS_BAD_ARGUMENT', `arguments of more than ${LIMITS.argsBytes} bytes`);
  const payload = readPayload(body);
  if (payload.length > LIMITS.payloadBytes) fail('TFS_TOO_LARGE', `payload of ${payload.length} bytes, at most ${LIMITS.payloadBytes}`);
  return {
    team: principal.teamId,
    source: body.source ?? 'api',
    caller: principal.identity,
    service: ownName(body.service, principal.team),
    plugin: body.plugin,
    args: Object.fromEntries(args),
    payload,
    ...optional('timeoutMs', duration('timeout', body.timeout, LIMITS.maxTimeoutMs)),
    ...optional('delayMs', duration('delay', body.delay, QUEUE_LIMITS.maxDelayMs)),
    ...optional('backoffMs', duration('backoff', body.backoff, QUEUE_LIMITS.maxBackoffMs)),
    ...optional('maxAgeMs', duration('maxAge', body.maxAge, QUEUE_LIMITS.maxMaxAgeMs)),
    ...optional('priority', body.priority),
    ...optional('retries', body.retries),
    ...optional('concurrencyKey', body.concurrencyKey),
    ...optional('onSuccess', body.onSuccess),
    ...optional('onFailure', body.onFailure),
    ...optional('idempotencyKey', idempotencyKey),
  };
}

/** A service of one's own goes by one name, by which its visibility and its limits are found. */
function ownName(service: string, home: string): string {
  const [team = '', name = '', ...more] = service.split('/');
  return name !== '' && more.length === 0 && team.toLowerCase() === home.toLowerCase() ? name : service;
}

function readPayload({ payload, command, payloadBase64 }: QueueRequest): Buffer {
  if ([payload, command, payloadBase64].filter((given) => given !== undefined).length > 1) {
    fail('TFS_BAD_REQUEST', 'at most one of payload, command and payloadBase64 may be given');
  }
  if (payloadBase64 === undefined) return Buffer.from(payload ?? command ?? '');
  if (!BASE64.test(payloadBase64) || payloadBase64.length % 4 !== 0) fail('TFS_BAD_REQUEST', 'payloadBase64 is not base64');
  return Buffer.from(payloadBase64, 'base64');
}

function duration(name: string, text: string | undefined, limitMs: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms === null || ms > limitMs) {
    fail(name === 'timeout' ? 'TFS_BAD_TIMEOUT' : 'TFS_BAD_REQUEST', `${name} is not a duration such as 10s, or more than ${limitMs} ms`);
  }
  return ms;
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]: V });
}

function fail(code: 'TFS_BAD_REQUEST' | 'TFS_BAD_TIMEOUT' | 'TFS_BAD_ARGUMENT' | 'TFS_TOO_LARGE', message: string): never {
  throw new TriggerFsError(code, message);
}
