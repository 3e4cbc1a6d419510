import { redactionAad } from '../../protocol/history-block.ts';
import type { Logger } from '../../runtime/logging.ts';
import { type DataKey, open, type TeamKeys } from '../../runtime/sealing/index.ts';
import type { Directory } from '../directory/directory.ts';
import type { RedactionConfig } from '../directory/team.ts';
import { Redactor } from './redactor.ts';

/** How long a key is used without asking for the current one again. */
const FRESH_MS = 30_000;
const FOREIGN_KEY_VIOLATION = '23503';

/** What it takes to store something of a team. */
export interface TeamSecret {
  readonly key: DataKey;
  readonly redactor: Redactor;
}

interface Known extends TeamSecret {
  readonly words: readonly RedactionConfig[];
  readonly readAt: number;
}

/** Keys and redactors of the teams that have something to store, ready without waiting. */
export class TeamSecrets {
  readonly #keys: TeamKeys;
  readonly #directory: Directory;
  readonly #log: Logger;
  readonly #known = new Map<number, Known>();
  /** Teams without a key, and until when that is not asked again. */
  readonly #without = new Map<number, number>();

  constructor(keys: TeamKeys, directory: Directory, log: Logger) {
    this.#keys = keys;
    this.#directory = directory;
    this.#log = log;
  }

  /** What was prepared for a team; undefined when nothing was. */
  get(teamId: number): TeamSecret | undefined {
    return this.#known.get(teamId);
  }

  /** Whether there is no key for a team: it was deleted, or this process has not the master key that wraps it. */
  without(teamId: number): boolean {
    return this.#without.has(teamId);
  }

  /** Makes ready what these teams need. @throws the database's error */
  async prepare(teams: ReadonlySet<number>): Promise<void> {
    for (const team of teams) {
      const known = this.#known.get(team);
      const words = this.#directory.team(team)?.redactions ?? [];
      const fresh = known !== undefined && known.words === words && Date.now() - known.readAt < FRESH_MS;
      if (!fresh && (this.#without.get(team) ?? 0) < Date.now()) await this.#load(team, words);
    }
  }

  async #load(team: number, words: readonly RedactionConfig[]): Promise<void> {
    try {
      const key = await this.#keys.current(team);
      const known = this.#known.get(team);
      const redactor = known?.words === words ? known.redactor : new Redactor(await this.#open(team, words));
      this.#known.set(team, { key, redactor, words, readAt: Date.now() });
      this.#without.delete(team);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== FOREIGN_KEY_VIOLATION && code !== 'TFS_SEALED') throw error;
      this.#log.error({ err: error }, `the history of team ${team} cannot be sealed`);
      this.#known.delete(team);
      this.#without.set(team, Date.now() + FRESH_MS);
    }
  }

  #open(team: number, words: readonly RedactionConfig[]): Promise<string[]> {
    return Promise.all(words.map(async ({ name, word }) => (await open(this.#keys, team, redactionAad(team, name), word)).toString()));
  }
}
