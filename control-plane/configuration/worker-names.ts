import { TriggerFsError } from '../../protocol/errors.ts';
import type { Transaction } from '../database.ts';

/** A worker without what it is doing. */
export interface NamedWorker {
  readonly id: number;
  readonly identity: string;
  readonly ownerId: number | null;
}

/**
 * Workers of a team by identity, read once for a commit. Under row level security each look-up by name reads the whole team,
 * so a text of thousands of workers would read it thousands of times. Whoever changes workers in the transaction tells it.
 */
export class WorkerNames {
  readonly #byName: Map<string, NamedWorker>;

  private constructor(workers: readonly NamedWorker[]) {
    this.#byName = new Map(workers.map((worker) => [worker.identity.toLowerCase(), worker]));
  }

  /** Reads the workers of a team. */
  static async read(tx: Transaction, teamId: number): Promise<WorkerNames> {
    const sql = 'select id, identity, owner_id as "ownerId" from triggerfs.workers where team_id = $1';
    return new WorkerNames(await tx.rows<NamedWorker>(sql, [teamId]));
  }

  /** Whether a worker has exactly this identity, without regard to case. */
  has(identity: string): boolean {
    return this.#byName.has(identity.toLowerCase());
  }

  /** A worker by identity, or by the id that lists show. @throws TriggerFsError TFS_NOT_FOUND */
  find(name: string): NamedWorker {
    const worker = this.#byName.get(name.toLowerCase()) ?? (/^\d+$/.test(name) ? this.#byId(Number(name)) : undefined);
    if (worker === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `the team has no worker ${name}`);
    return worker;
  }

  /** A worker was made. */
  add(worker: NamedWorker): void {
    this.#byName.set(worker.identity.toLowerCase(), worker);
  }

  /** A worker was deleted. */
  remove(worker: NamedWorker): void {
    this.#byName.delete(worker.identity.toLowerCase());
  }

  #byId(id: number): NamedWorker | undefined {
    return this.#byName.values().find((worker) => worker.id === id);
  }
}
