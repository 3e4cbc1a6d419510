import { randomUUID } from 'node:crypto';
import type { EdgeLogin, LoginSource } from '../../runtime/credentials.ts';
import { reachableBrokers } from '../auth/repository.ts';
import type { Database } from '../database.ts';
import type { KeyRing } from '../keys/key-ring.ts';

const LIFE_S = 10 * 60;
const MARGIN_S = 30;

/** A team, as tokens name it. */
export interface Team {
  readonly id: number;
  readonly name: string;
}

/**
 * Logs the control-plane in to the brokers for a team, without HTTP: it has the keys. Such a token may call everything of
 * that team and public services; nobody else can get one.
 */
export class SystemLogin implements LoginSource {
  readonly #team: Team;
  readonly #database: Database;
  readonly #keys: KeyRing;
  readonly #sid = randomUUID();
  readonly #listeners = new Set<(login: EdgeLogin) => void>();
  readonly #timer: NodeJS.Timeout;
  #login: EdgeLogin | null = null;
  #expiresAt = 0;

  constructor(team: Team, database: Database, keys: KeyRing) {
    this.#team = team;
    this.#database = database;
    this.#keys = keys;
    // Without the database what is at hand goes on until it ends; the next turn tries again.
    this.#timer = setInterval(() => void this.refresh().catch(() => undefined), (LIFE_S / 4) * 1000);
    this.#timer.unref();
  }

  async current(): Promise<EdgeLogin> {
    if (this.#login !== null && this.#expiresAt > Date.now() / 1000 + MARGIN_S) return this.#login;
    return this.refresh();
  }

  async refresh(): Promise<EdgeLogin> {
    const brokers = await reachableBrokers(this.#database, undefined);
    const now = Math.floor(Date.now() / 1000);
    const { signer, channelKey } = this.#keys;
    const { id, name } = this.#team;
    const who = { kind: 'system', sub: '0', role: 'system', identity: 'system', epoch: 1 } as const;
    const claims = { ...who, team: id, teamName: name, sid: this.#sid, auth: now, exp: now + LIFE_S };
    const login = { edgeToken: signer.sign(claims, 'triggerfs-edge'), channelKey, brokers };
    this.#login = login;
    this.#expiresAt = claims.exp;
    for (const listener of this.#listeners) listener(login);
    return login;
  }

  invalidate(): void {
    this.#login = null;
  }

  onRenewed(listener: (login: EdgeLogin) => void): void {
    this.#listeners.add(listener);
  }

  /** Stops renewing. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
