import { createHash } from 'node:crypto';
import type { InvocationSource } from '../../protocol/http/history.ts';
import type { FollowUp } from '../../protocol/http/queue.ts';

/** An invocation to accept for later. Its caller's rights were checked. Times are milliseconds. */
export interface NewItem {
  /** Id of the team that it belongs to. */
  readonly team: number;
  readonly source: InvocationSource;
  /** Identity; empty when nobody was logged in. */
  readonly caller: string;
  /** `service` or `team/service`. */
  readonly service: string;
  readonly plugin: string;
  readonly args?: Readonly<Record<string, string>>;
  readonly payload: Buffer;
  /** Id of the trigger file that fired. */
  readonly trigger?: number;
  /** Of one run; the service's when absent. */
  readonly timeoutMs?: number;
  readonly delayMs?: number;
  readonly priority?: number;
  readonly retries?: number;
  readonly backoffMs?: number;
  readonly maxAgeMs?: number;
  readonly concurrencyKey?: string;
  readonly idempotencyKey?: string;
  readonly onSuccess?: FollowUp;
  readonly onFailure?: FollowUp;
}

/** What the payload of an item is sealed with. */
export function payloadAad(team: number, id: string): string {
  return `queue|${team}|${id}`;
}

/** What the result of an item is sealed with. */
export function answerAad(team: number, id: string): string {
  return `answer|${team}|${id}`;
}

/** Tells requests with the same idempotency key apart: SHA-256 of what was asked for, as hex; through which door it came and how long it may wait do not count. */
export function requestHash({
  payload,
  args,
  team: _team,
  source: _source,
  caller: _caller,
  idempotencyKey: _key,
  maxAgeMs: _age,
  ...rest
}: NewItem): string {
  const said = JSON.stringify([Object.entries(rest).sort(byName), Object.entries(args ?? {}).sort(byName)]);
  return createHash('sha256').update(said).update('\0').update(payload).digest('hex');
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
