import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { TriggerFsError } from '../../protocol/errors.ts';
import { BinaryArray, ElementType } from '../postgres/binary-array.ts';
import { byteaArray } from '../postgres/bytea-array.ts';
import { type DataKey, seal, type TeamKeys } from '../sealing/index.ts';
import { formatInvocationId, InvocationIds } from '../wire/invocation-id.ts';
import { type NewItem, payloadAad, requestHash } from './new-item.ts';
import { RuleList } from './rule-list.ts';

/** Those that come within this time share a statement. */
const WINDOW_MS = 2;
const MAX_ITEMS = 500;
const MAX_BYTES = 8 * 1024 * 1024;
/** Statements at once: one is written down here while PostgreSQL has the other. What comes meanwhile goes with the next one. */
const STATEMENTS = 2;
/** Fewer are not shared among statements: each costs as much as some twenty items. */
const MIN_SHARE = 64;
const RETRY_MS = 200;
const GIVE_UP_MS = 4_000;
/** No SQLSTATE of the statement's own: the connection was lost, or PostgreSQL is on its way down or up. */
const NOT_THE_STATEMENT = /^(08|57P|53|40|55P03|57014|25P03)/;

/** Options of an acceptor. */
export interface AcceptorOptions {
  /** May call `triggerfs.enqueue`. */
  readonly pool: Pick<Pool, 'query'>;
  readonly keys: Pick<TeamKeys, 'current'>;
  /** Called after each commit, so that a dispatcher in this process need not poll. */
  readonly onAccepted?: () => void;
}

/** An accepted item. */
export interface Accepted {
  /** Id of the item, and of its first invocation. */
  readonly id: string;
  /** The idempotency key was used before, with the same request: the id is that one's. */
  readonly existing: boolean;
}

interface Waiting {
  readonly item: NewItem;
  readonly id: string;
  readonly idBytes: Buffer;
  readonly resolve: (accepted: Accepted) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Accepts invocations for later. Those that wait at the same time are committed by one statement; each is answered only
 * after that commit. A lost connection is tried again under the same ids, so that nothing is accepted twice.
 */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #ids = new InvocationIds();
  #waiting: Waiting[] = [];
  #bytes = 0;
  #statements = 0;
  #timer: NodeJS.Timeout | null = null;
  /** Items that were committed by this acceptor. */
  accepted = 0;

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the item is committed.
   * @throws TriggerFsError TFS_CONFLICT (the idempotency key belongs to another request), TFS_LIMIT (the plan of the team), TFS_UNAVAILABLE (the database; the item may have been accepted)
   */
  accept(item: NewItem): Promise<Accepted> {
    const { promise, resolve, reject } = Promise.withResolvers<Accepted>();
    const idBytes = this.#ids.next();
    this.#waiting.push({ item, id: formatInvocationId(idBytes), idBytes, resolve, reject });
    this.#bytes += item.payload.length;
    if (this.#waiting.length >= MAX_ITEMS || this.#bytes >= MAX_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), WINDOW_MS);
    return promise;
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#statements < STATEMENTS && this.#waiting.length > 0) {
      const share = Math.ceil(this.#waiting.length / (STATEMENTS - this.#statements));
      const batch = this.#waiting.splice(0, Math.min(MAX_ITEMS, Math.max(MIN_SHARE, share)));
      for (const { item } of batch) this.#bytes -= item.payload.length;
      this.#statements += 1;
      void this.#commit(batch).finally(() => {
        this.#statements -= 1;
        this.#flush();
      });
    }
  }

  /** Never rejects: each item has its own answer. */
  async #commit(batch: readonly Waiting[]): Promise<void> {
    const keyed = await this.#withKeys(batch);
    if (keyed.length === 0) return;
    try {
      const known = new Map((await this.#enqueue(keyed)).map(({ n, id }) => [n - 1, id]));
      keyed.forEach(([waiting], index) => {
        settle(waiting, known.get(index));
      });
      this.accepted += keyed.length - known.size;
      this.#options.onAccepted?.();
    } catch (error) {
      // What is wrong with one of them is none of the others' business.
      if (isPlanLimit(error)) await this.#fit(keyed, error);
      else if (keyed.length === 1 || !isStatementError(error)) for (const [waiting] of keyed) waiting.reject(translate(error));
      else for (const [waiting] of keyed) await this.#commit([waiting]);
    }
  }

  /** Somebody's plan has no room for all: teams stand alone, and of one team the first come in as far as there is room. */
  async #fit(keyed: readonly Keyed[], error: { readonly message: string; readonly detail?: string }): Promise<void> {
    const teams = [...Map.groupBy(keyed, ([{ item }]) => item.team).values()].map((each) => each.map(([waiting]) => waiting));
    const [only = []] = teams;
    if (teams.length > 1) {
      for (const team of teams) await this.#commit(team);
      return;
    }
    const room = Math.min(Number(error.detail ?? 0) || 0, only.length - 1);
    if (room > 0) await this.#commit(only.slice(0, room));
    for (const waiting of only.slice(room)) waiting.reject(new TriggerFsError('TFS_LIMIT', error.message, { cause: error }));
  }

  /** The key of each item's team; items of teams that have none are refused. */
  async #withKeys(batch: readonly Waiting[]): Promise<readonly Keyed[]> {
    const teams = [...new Set(batch.map(({ item }) => item.team))];
    const found = await Promise.allSettled(teams.map((team) => this.#options.keys.current(team)));
    const keys = new Map(teams.map((team, index) => [team, found[index] as PromiseSettledResult<DataKey>]));
    const keyed: Keyed[] = [];
    for (const waiting of batch) {
      const key = keys.get(waiting.item.team) as PromiseSettledResult<DataKey>;
      if (key.status === 'fulfilled') keyed.push([waiting, key.value]);
      else waiting.reject(translate(key.reason));
    }
    return keyed;
  }

  async #enqueue(batch: readonly Keyed[]): Promise<readonly Known[]> {
    const values = parametersOf(batch);
    const end = performance.now() + GIVE_UP_MS;
    for (;;) {
      try {
        const { rows } = await this.#options.pool.query<Known>({
          name: 'enqueue',
          text: 'select n, id from triggerfs.enqueue_batch($1, $2, $3, $4, $5, $6)',
          values,
        });
        return rows;
      } catch (error) {
        if (isStatementError(error) || performance.now() > end) throw error;
        await sleep(RETRY_MS);
      }
    }
  }
}

type Keyed = readonly [waiting: Waiting, key: DataKey];

/** An item that was there already. */
interface Known {
  /** Which one of the statement, from 1. */
  readonly n: number;
  /** Null when its key belongs to another request. */
  readonly id: string | null;
}

/** Our own id: an earlier try was committed and its answer lost. */
function settle({ item, id, resolve, reject }: Waiting, known: string | null | undefined): void {
  if (known !== null) return resolve({ id: known ?? id, existing: known !== undefined && known !== id });
  reject(new TriggerFsError('TFS_CONFLICT', `the idempotency key ${item.idempotencyKey} was used for another request`));
}

/** What `triggerfs.enqueue_batch` takes. */
function parametersOf(batch: readonly Keyed[]): unknown[] {
  const keyed = batch.some(([{ item }]) => item.idempotencyKey !== undefined);
  const rules = new RuleList();
  const ruleOf = new BinaryArray(ElementType.int4, batch.length * 8);
  const ids = new BinaryArray(ElementType.uuid, batch.length * 20);
  for (const [{ item, idBytes }] of batch) {
    ruleOf.int4(rules.add(item));
    ids.uuid(idBytes);
  }
  return [
    rules.json(),
    ruleOf.finish(),
    ids.finish(),
    keyed ? batch.map(([{ item }]) => item.idempotencyKey ?? null) : null,
    keyed
      ? byteaArray(batch.map(([{ item }]) => (item.idempotencyKey === undefined ? null : Buffer.from(requestHash(item), 'hex'))))
      : null,
    byteaArray(batch.map(([{ item, id }, key]) => seal(key, payloadAad(item.team, id), item.payload))),
  ];
}

function isStatementError(error: unknown): boolean {
  if (error instanceof TriggerFsError) return true;
  const state = (error as { code?: string }).code ?? '';
  return /^[0-9A-Z]{5}$/.test(state) && !NOT_THE_STATEMENT.test(state);
}

/** SQLSTATE of limits of plans. */
function isPlanLimit(error: unknown): error is Error & { readonly detail?: string } {
  return error instanceof Error && (error as { code?: string }).code === 'TF001';
}

function translate(error: unknown): unknown {
  if (error instanceof TriggerFsError || isStatementError(error)) return error;
  return new TriggerFsError('TFS_UNAVAILABLE', 'the database is not available; whether the invocation was accepted is not known', {
    cause: error,
  });
}
