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
  readonly #known = new Map<number, Known>();
  readonly #gone = new Set<number>();

  constructor(keys: TeamKeys, directory: Directory) {
    this.#keys = keys;
    this.#directory = directory;
  }

  /** What was prepared for a team; undefined when nothing was. */
  get(teamId: number): TeamSecret | undefined {
    return this.#known.get(teamId);
  }

  /** Whether the team does not exist any more: there is no key for it, and nobody to read. */
  gone(teamId: number): boolean {
    return this.#gone.has(teamId);
  }

  /** Makes ready what these teams need. @throws the database's error, or TriggerFsError TFS_SEALED */
  async prepare(teams: ReadonlySet<number>): Promise<void> {
    for (const team of teams) {
      const known = this.#known.get(team);
      const words = this.#directory.team(team)?.redactions ?? [];
      const fresh = known !== undefined && known.words === words && Date.now() - known.readAt < FRESH_MS;
      if (!fresh && !this.#gone.has(team)) await this.#load(team, words);
    }
  }

  async #load(team: number, words: readonly RedactionConfig[]): Promise<void> {
    try {
      const key = await this.#keys.current(team);
      const known = this.#known.get(team);
      const redactor = known?.words === words ? known.redactor : new Redactor(await this.#open(team, words));
      this.#known.set(team, { key, redactor, words, readAt: Date.now() });
    } catch (error) {
      if ((error as { code?: string }).code !== FOREIGN_KEY_VIOLATION) throw error;
      this.#known.delete(team);
      this.#gone.add(team);
    }
  }

  #open(team: number, words: readonly RedactionConfig[]): Promise<string[]> {
    return Promise.all(words.map(async ({ name, word }) => (await open(this.#keys, team, redactionAad(team, name), word)).toString()));
  }
}

/** What a sealed word of a team is bound to. */
export function redactionAad(teamId: number, name: string): string {
  return `redaction|${teamId}|${name}`;
}
