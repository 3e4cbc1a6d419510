import { randomBytes } from 'node:crypto';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { KeyStore, MasterKey } from './master-key.ts';
import type { DataKey, KeyRing } from './seal.ts';

const KEY_BYTES = 32;
/** How long a key counts as the current one without a look at the database: a rotation takes this long to reach every process. */
const FRESH_MS = 60_000;

interface KeyRow {
  readonly id: number;
  readonly master: string;
  readonly wrapped: Buffer;
  readonly retired: boolean;
}

interface TeamRing {
  readonly keys: ReadonlyMap<number, DataKey>;
  readonly current: DataKey | null;
  readonly readAt: number;
}

/**
 * The data keys of teams, over `triggerfs.team_keys`: unwrapped copies in memory, made in the database when a team
 * has none yet. Any number of processes may ask at once; they all get the same key.
 */
export class TeamKeys implements KeyRing {
  readonly #store: KeyStore;
  readonly #master: MasterKey;
  readonly #rings = new Map<number, TeamRing>();
  readonly #reading = new Map<number, Promise<TeamRing>>();

  constructor(store: KeyStore, master: MasterKey) {
    this.#store = store;
    this.#master = master;
  }

  /** The key that new data of the team is sealed with. @throws TriggerFsError TFS_SEALED, or the database's error (the team is gone, for one) */
  async current(teamId: number): Promise<DataKey> {
    const known = this.#rings.get(teamId);
    if (known?.current != null && Date.now() - known.readAt < FRESH_MS) return known.current;
    return (await this.#read(teamId)).current ?? (await this.#add(teamId));
  }

  /** A key by its id, current or retired. @throws TriggerFsError TFS_SEALED when the team has no such key (any more) */
  async byId(teamId: number, id: number): Promise<DataKey> {
    const found = this.#rings.get(teamId)?.keys.get(id) ?? (await this.#read(teamId)).keys.get(id);
    if (found === undefined) throw new TriggerFsError('TFS_SEALED', `team ${teamId} has no data key ${id} (any more)`);
    return found;
  }

  /**
   * Wraps what older master keys of the file wrapped with the one in use, so that those can be taken out of the file.
   * Needs the rights of the control-plane. Returns how many data keys were wrapped anew.
   */
  async rewrap(): Promise<number> {
    const { rows } = await this.#store.query<KeyRow & { team_id: number }>(
      'select id, team_id, master, wrapped from triggerfs.foreign_team_keys($1)',
      [this.#master.fingerprint],
    );
    const known = rows.filter((row) => this.#master.has(row.master));
    const wrapped = known.map((row) => {
      const aad = aadOf(row.team_id);
      return this.#master.wrap(aad, this.#master.unwrap(row.master, aad, row.wrapped));
    });
    await this.#store.query('select triggerfs.rewrap_team_keys($1, $2::integer[], $3::bytea[])', [
      this.#master.fingerprint,
      known.map((row) => row.id),
      wrapped,
    ]);
    return known.length;
  }

  /** One read at a time for each team, however many wait for it. */
  #read(teamId: number): Promise<TeamRing> {
    let reading = this.#reading.get(teamId);
    if (reading === undefined) {
      reading = this.#query(teamId).finally(() => this.#reading.delete(teamId));
      this.#reading.set(teamId, reading);
    }
    return reading;
  }

  async #query(teamId: number): Promise<TeamRing> {
    const { rows } = await this.#store.query<KeyRow>('select id, master, wrapped, retired from triggerfs.team_keys_of($1)', [teamId]);
    const old = this.#rings.get(teamId);
    const keys = new Map<number, DataKey>();
    let current: DataKey | null = null;
    for (const row of rows) {
      const key = old?.keys.get(row.id) ?? this.#unwrap(teamId, row);
      keys.set(row.id, key);
      if (!row.retired) current = key;
    }
    const ring = { keys, current, readAt: Date.now() };
    this.#rings.set(teamId, ring);
    return ring;
  }

  async #add(teamId: number): Promise<DataKey> {
    const wrapped = this.#master.wrap(aadOf(teamId), randomBytes(KEY_BYTES));
    await this.#store.query('select triggerfs.add_team_key($1, $2, $3)', [teamId, this.#master.fingerprint, wrapped]);
    // Not a read that somebody began before the key was there.
    const { current } = await this.#query(teamId);
    if (current === null) throw new TriggerFsError('TFS_SEALED', `team ${teamId} has no data key`);
    return current;
  }

  #unwrap(teamId: number, row: KeyRow): DataKey {
    return { id: row.id, key: this.#master.unwrap(row.master, aadOf(teamId), row.wrapped) };
  }
}

function aadOf(teamId: number): string {
  return `team-key|${teamId}`;
}
