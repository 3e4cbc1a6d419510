import type { Pool } from 'pg';

interface Partition {
  readonly name: string;
  readonly parent: string;
  readonly attached: boolean;
  /** A detachment was begun and did not get to its end. */
  readonly pending: boolean;
}

/**
 * The daily partitions of the history. A day is dropped without ever standing in the way of writers: its partitions are detached
 * concurrently, which only waits for transactions that began before, and are then nobody's.
 */
export class Partitions {
  readonly #pool: Pool;

  /** The pool's login must own the tables. */
  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Makes those of the coming week; returns how many were missing. */
  async make(): Promise<number> {
    const { rows } = await this.#pool.query<{ made: number }>('select triggerfs.make_history_partitions() as made');
    return rows[0]?.made ?? 0;
  }

  /** Days that have partitions, also half dropped ones, oldest first. */
  async days(): Promise<string[]> {
    const { rows } = await this.#pool.query<{ day: string }>(
      `select distinct to_char(to_date(right(c.relname, 8), 'YYYYMMDD'), 'YYYY-MM-DD') as day
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'triggerfs' and c.relkind = 'r' and c.relname ~ '^(invocations|runs|outputs)_[0-9]{8}$' order by 1`,
    );
    return rows.map(({ day }) => day);
  }

  /** Drops a day, or what is left of it. Readers see it go as a whole, except that output goes first. */
  async drop(day: string): Promise<void> {
    for (const part of await this.#partitions(day)) {
      const [name, parent] = [`triggerfs.${part.name}`, `triggerfs.${part.parent}`];
      if (part.pending) await this.#pool.query(`alter table ${parent} detach partition ${name} finalize`);
      else if (part.attached) await this.#pool.query(`alter table ${parent} detach partition ${name} concurrently`);
      await this.#pool.query(`drop table ${name}`);
    }
  }

  /** Names are made here, of a checked day, so they need no quoting. */
  async #partitions(day: string): Promise<Partition[]> {
    if (!/^\d{4}-\d{2}-\d{2}$/.test(day)) throw new RangeError(`not a day: ${day}`);
    const suffix = day.replaceAll('-', '');
    const { rows } = await this.#pool.query<Partition>(
      `select c.relname as name, p.parent, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as pending
       from unnest(array['outputs', 'runs', 'invocations']) with ordinality p (parent, n)
       join pg_class c on c.relname = p.parent || '_' || $1 and c.relnamespace = 'triggerfs'::regnamespace and c.relkind = 'r'
       left join pg_inherits i on i.inhrelid = c.oid
       order by p.n`,
      [suffix],
    );
    return rows;
  }
}
