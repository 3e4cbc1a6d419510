import type { Pool } from 'pg';
import type { ErrorCode } from '../../../protocol/errors.ts';
import type { KeptInvocation } from '../../../protocol/http/gateway-kept.ts';
import type { QueueResult, QueueState } from '../../../protocol/http/queue.ts';
import type { VerdictName } from '../../../protocol/verdicts.ts';
import { answerAad } from '../../../runtime/acceptance/new-item.ts';
import { type KeyRing, open } from '../../../runtime/sealing/index.ts';

/** An accepted invocation, as the queue has it. */
export interface Kept {
  readonly id: string;
  readonly teamId: number;
  readonly source: string;
  readonly caller: string;
  readonly state: QueueState;
  readonly service: string;
  readonly plugin: string;
  readonly attempt: number;
  /** Id in the history of the attempt that is or was last; null before the first. */
  readonly invocation: string | null;
  readonly acceptedAt: Date;
  readonly dueAt: Date;
  readonly endedAt: Date | null;
  readonly verdict: VerdictName | null;
  readonly exitCode: number | null;
  readonly error: ErrorCode | null;
  readonly detail: string;
  /** Sealed result. */
  readonly answer: Buffer | null;
}

/** Which invocation. The team keeps everybody else's out of reach. */
export interface KeptReference {
  readonly teamId: number;
  readonly id: string;
}

const SQL = `select id, team_id as "teamId", source, caller, state, service, plugin, attempt, invocation_id as invocation,
    accepted_at as "acceptedAt", due_at as "dueAt", ended_at as "endedAt", verdict, exit_code as "exitCode", error, detail, answer
  from triggerfs.kept_invocations($1::integer[], $2::uuid[])`;

/** Reads accepted invocations and opens their results. */
export class KeptStore {
  readonly #pool: Pick<Pool, 'query'>;
  readonly #keys: KeyRing;

  constructor(pool: Pick<Pool, 'query'>, keys: KeyRing) {
    this.#pool = pool;
    this.#keys = keys;
  }

  /** Those that are there, in any order. */
  async find(wanted: readonly KeptReference[]): Promise<Kept[]> {
    const { rows } = await this.#pool.query<Kept>({
      name: 'kept-invocations',
      text: SQL,
      values: [wanted.map(({ teamId }) => teamId), wanted.map(({ id }) => id)],
    });
    return rows;
  }

  /** The result of one that has ended; null while it has none. @throws TriggerFsError TFS_SEALED */
  async result({ id, teamId, answer }: Kept): Promise<QueueResult | null> {
    if (answer === null) return null;
    return JSON.parse((await open(this.#keys, teamId, answerAad(teamId, id), answer)).toString('utf8')) as QueueResult;
  }
}

/** Whether nothing more comes. */
export function hasEnded({ state }: Pick<Kept, 'state'>): boolean {
  return state !== 'queued' && state !== 'running';
}

/** What callers see of it, without its result. */
export function keptView(kept: Kept, team: string): Omit<KeptInvocation, 'result'> {
  const { id, state, service, plugin, attempt, acceptedAt, dueAt, endedAt, verdict, exitCode, error, detail } = kept;
  return {
    id,
    state,
    service: service.includes('/') ? service : `${team}/${service}`,
    plugin,
    attempt,
    acceptedAt: acceptedAt.toISOString(),
    dueAt: dueAt.toISOString(),
    endedAt: endedAt?.toISOString() ?? null,
    verdict,
    exitCode,
    error,
    detail,
  };
}
