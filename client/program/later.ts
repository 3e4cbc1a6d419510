import { isUtf8 } from 'node:buffer';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { FollowUp, QueueAccepted, QueueRequest, QueueView } from '../../protocol/http/queue.ts';
import type { ApiCaller } from '../api-caller.ts';
import type { CommandLine, Order } from './options.ts';
import type { Sink } from './sink.ts';

/** Has a request accepted for later and prints its id; the exit code is 0 once it is committed. @throws TriggerFsError of the API */
export async function acceptLater(caller: ApiCaller, order: Order, payload: Buffer, options: CommandLine, out: Sink): Promise<number> {
  const key = options['idempotency-key'];
  const accepted = await caller.call<QueueAccepted>({
    method: 'POST',
    path: '/v1/invocations',
    body: bodyOf(order, payload, options),
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
  });
  const { id, state, existing } = accepted;
  out.write(options.json ? `${JSON.stringify({ event: 'accepted', id, state, existing })}\n` : `${id}\n`);
  await out.flushed();
  return 0;
}

/** Cancels what was accepted for later, waiting or running. @throws TriggerFsError TFS_NOT_FOUND, TFS_CONFLICT (it has ended), TFS_FORBIDDEN */
export async function cancelLater(caller: ApiCaller, id: string, json: boolean, out: Sink): Promise<number> {
  const { state } = await caller.call<QueueView>({ method: 'DELETE', path: `/v1/invocations/${encodeURIComponent(id)}` });
  out.write(
    json ? `${JSON.stringify({ event: 'cancelled', id, state })}\n` : `${id} is ${state === 'running' ? 'being cancelled' : state}\n`,
  );
  await out.flushed();
  return 0;
}

function bodyOf({ service, plugin, args, timeoutMs }: Order, payload: Buffer, options: CommandLine): QueueRequest {
  const { delay, backoff, retries, priority } = options;
  const found: Record<string, unknown> = {
    service,
    plugin,
    args,
    source: 'client',
    ...(isUtf8(payload) ? { payload: payload.toString() } : { payloadBase64: payload.toString('base64') }),
    timeout: timeoutMs === undefined ? undefined : `${timeoutMs}ms`,
    delay,
    backoff,
    retries: wholeNumber('retries', retries),
    priority: wholeNumber('priority', priority),
    maxAge: options['max-age'],
    concurrencyKey: options['concurrency-key'],
    onSuccess: followUp('on-success', options['on-success']),
    onFailure: followUp('on-failure', options['on-failure']),
  };
  return found as QueueRequest;
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^-?\d{1,6}$/.test(text)) return Number(text);
  throw new TriggerFsError('TFS_USAGE', `-${name} takes a whole number, not ${text}`);
}

function followUp(name: string, target: string | undefined): FollowUp | undefined {
  if (target === undefined) return undefined;
  if (target.startsWith('/')) return { trigger: target };
  if (/^https?:\/\//.test(target)) return { callback: target };
  throw new TriggerFsError('TFS_USAGE', `-${name} takes the path of a trigger file, such as /demo/log, or an address, not ${target}`);
}
