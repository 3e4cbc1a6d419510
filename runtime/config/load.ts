import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import toml from '@iarna/toml';
import { TriggerFsError } from '../../protocol/errors.ts';
import { isName } from '../../protocol/names.ts';
import type { Environment } from '../environment.ts';
import type { Key } from './keys.ts';
import { type Config, SECTIONS, type WorkerCredentials } from './sections.ts';

const MAX_FILE_BYTES = 1024 * 1024;

type Table = Readonly<Record<string, unknown>>;

/**
 * Finds and reads triggerfs.toml: `-config FILE`, `$TRIGGERFS_CONFIG`, `./triggerfs.toml`,
 * `./.triggerfs/triggerfs.toml`, `$HOME/triggerfs.toml`. No file at all gives the defaults.
 * @throws TriggerFsError TFS_CONFIG that names file, line and key
 */
export function loadConfig(env: Environment, flagFile?: string): Config {
  const file = findFile(env, flagFile);
  return file === null ? parseConfig('', null) : parseConfig(readText(file), file);
}

/** Parses the text of a configuration file. @throws TriggerFsError TFS_CONFIG */
export function parseConfig(source: string, file: string | null): Config {
  return new Parser(source.replace(/^\uFEFF/, ''), file).parse();
}

/** A path of the configuration: relative ones count from the folder of the file (or the current one without a file). */
export function configPath(config: Config, path: string): string {
  return resolve(config.file === null ? '.' : dirname(config.file), path);
}

function findFile(env: Environment, flagFile: string | undefined): string | null {
  const wanted = flagFile ?? env.configFile;
  if (wanted !== undefined) return resolve(wanted);
  const candidates = ['triggerfs.toml', join('.triggerfs', 'triggerfs.toml')];
  if (env.home !== undefined) candidates.push(join(env.home, 'triggerfs.toml'));
  const found = candidates.find((candidate) => existsSync(candidate));
  return found === undefined ? null : resolve(found);
}

function readText(file: string): string {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new Error('it is not a regular file');
    if (stat.size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot read the configuration ${file}: ${(cause as Error).message}`, { cause });
  }
}

class Parser {
  readonly #lines: readonly string[];
  readonly #source: string;
  readonly #file: string | null;

  constructor(source: string, file: string | null) {
    this.#source = source;
    this.#lines = source.split(/\r?\n/);
    this.#file = file;
  }

  parse(): Config {
    const root = this.#parseToml();
    const config: Record<string, unknown> = { file: this.#file };
    for (const name of Object.keys(root)) {
      if (!Object.hasOwn(SECTIONS, name)) this.#fail([name], 'unknown section');
    }
    for (const [name, keys] of Object.entries(SECTIONS)) {
      config[name] = this.#section(name, keys, this.#table(root[name], [name]));
    }
    config.workerCredentials = this.#workerCredentials(this.#table(root.workers, ['workers']));
    return Object.freeze(config) as unknown as Config;
  }

  #parseToml(): Table {
    try {
      return toml.parse(this.#source);
    } catch (cause) {
      const line = (cause as { line?: number }).line;
      const reason = (cause as Error).message.split('\n')[0];
      throw new TriggerFsError('TFS_CONFIG', `${this.#where(line === undefined ? null : line + 1)}: ${reason}`, { cause });
    }
  }

  #section(name: string, keys: Readonly<Record<string, Key<unknown>>>, table: Table): Table {
    const section: Record<string, unknown> = {};
    for (const key of Object.keys(table)) {
      const isWorkerTeam = name === 'workers' && typeof table[key] === 'object' && !Array.isArray(table[key]);
      if (!Object.hasOwn(keys, key) && !isWorkerTeam) this.#fail([name, key], 'unknown key');
    }
    for (const [key, definition] of Object.entries(keys)) {
      section[key] = Object.hasOwn(table, key) ? this.#value(definition, table[key], [name, key]) : definition.fallback;
    }
    return Object.freeze(section);
  }

  #value(definition: Key<unknown>, value: unknown, path: readonly string[]): unknown {
    try {
      return definition.parse(value);
    } catch (cause) {
      return this.#fail(path, (cause as Error).message);
    }
  }

  #workerCredentials(workers: Table): Config['workerCredentials'] {
    const teams = new Map<string, Map<string, WorkerCredentials>>();
    for (const [team, identities] of Object.entries(workers)) {
      if (Object.hasOwn(SECTIONS.workers, team)) continue;
      if (!isName(team)) this.#fail(['workers', team], 'not the name of a team');
      const found = new Map<string, WorkerCredentials>();
      for (const [identity, entry] of Object.entries(this.#table(identities, ['workers', team]))) {
        found.set(identity, this.#credentials(entry, ['workers', team, identity]));
      }
      teams.set(team, found);
    }
    return teams;
  }

  #credentials(entry: unknown, path: readonly string[]): WorkerCredentials {
    const table = this.#table(entry, path);
    for (const key of Object.keys(table)) if (key !== 'token') this.#fail([...path, key], 'unknown key');
    if (typeof table.token !== 'string') return this.#fail([...path, 'token'], 'a text in quotes is expected');
    return { token: table.token };
  }

  #table(value: unknown, path: readonly string[]): Table {
    if (value === undefined) return {};
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.#fail(path, 'a section is expected');
    return value as Table;
  }

  #fail(path: readonly string[], reason: string): never {
    throw new TriggerFsError('TFS_CONFIG', `${this.#where(this.#lineOf(path))}: ${path.join('.')}: ${reason}`);
  }

  #where(line: number | null): string {
    const file = this.#file ?? 'configuration';
    return line === null ? file : `${file}:${line}`;
  }

  /** Line of a key, 1-based: the parser gives no positions, so the section's header and then the key are looked up. */
  #lineOf(path: readonly string[]): number | null {
    const header = (line: string): string | null => /^\s*\[+\s*([^\]]+?)\s*\]+/.exec(line)?.[1]?.replaceAll(/["'\s]/g, '') ?? null;
    const whole = this.#lines.findIndex((line) => header(line) === path.join('.'));
    if (whole >= 0) return whole + 1;
    const section = path.slice(0, -1).join('.');
    const last = path[path.length - 1] as string;
    const start = this.#lines.findIndex((line) => header(line) === section);
    for (let i = start + 1; i < this.#lines.length; i += 1) {
      const line = this.#lines[i] as string;
      if (header(line) !== null) break;
      const key = /^\s*["']?([^"'=\s]+)["']?\s*=/.exec(line)?.[1];
      if (key === last || key?.endsWith(`.${last}`)) return i + 1;
    }
    return start >= 0 ? start + 1 : null;
  }
}
