import { readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { AnnouncedPlugin } from '../../protocol/control.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import { isPluginName } from '../../protocol/names.ts';
import type { Log } from '../../runtime/logging.ts';
import { isExecutable, loadPlugin, nameInFolder, type PluginRoot } from './load-plugin.ts';
import type { Plugin } from './plugin.ts';

/** How often the plugins' folder is looked at. Polling also works on network file systems, where watching does not. */
const SCAN_MS = 2_000;

/** Options of the catalogue. */
export interface CatalogueOptions {
  /** Folder of the plugins. */
  readonly path: string;
  readonly compiled: string | null;
  readonly nodeArguments: PluginRoot['nodeArguments'];
  /** Names that this machine runs; null allows all. */
  readonly allowed: readonly string[] | null;
  readonly log: Log;
}

/** The plugins of this machine: what stands in the folder and is allowed by the worker's own configuration. */
export class Catalogue {
  readonly #root: PluginRoot;
  readonly #allowed: ReadonlySet<string> | null;
  readonly #log: Log;
  readonly #listeners: (() => void)[] = [];
  #plugins: ReadonlyMap<string, Plugin> = new Map();
  #signature = '';
  #complaints: ReadonlySet<string> = new Set();
  #generation = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @throws TriggerFsError TFS_CONFIG when the folder cannot be read */
  constructor(options: CatalogueOptions) {
    this.#root = { path: realFolder(options.path), compiled: options.compiled, nodeArguments: options.nodeArguments };
    this.#allowed = options.allowed === null ? null : new Set(options.allowed);
    this.#log = options.log;
    this.#scan();
  }

  /** Rises when any plugin came, went or changed. */
  get generation(): number {
    return this.#generation;
  }

  /** Looks at the folder from time to time, until `stop`. */
  watch(): void {
    this.#timer = setInterval(() => this.#scan(), SCAN_MS);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Calls back after a change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Whether this machine's configuration lets a plugin run. */
  allows(name: string): boolean {
    return this.#allowed === null || this.#allowed.has(name);
  }

  /** All plugins, as brokers are told. */
  announced(): AnnouncedPlugin[] {
    return [...this.#plugins.values()].map(({ name, manifest }) => ({ name, version: manifest.version, kind: manifest.kind }));
  }

  /** A plugin by name, also one that was put into the folder a moment ago. @throws TriggerFsError TFS_PLUGIN_FAILED */
  find(name: string): Plugin | null {
    return this.#plugins.get(name) ?? loadPlugin(this.#root, name);
  }

  #scan(): void {
    const plugins = new Map<string, Plugin>();
    const complaints = new Set<string>();
    for (const name of this.#names(complaints)) {
      const plugin = this.#attempt(complaints, name, () => loadPlugin(this.#root, name));
      if (plugin !== null && this.allows(plugin.name)) plugins.set(plugin.name, plugin);
    }
    for (const complaint of complaints) if (!this.#complaints.has(complaint)) this.#log.warn(complaint);
    this.#complaints = complaints;
    const signature = [...plugins.values()].map((plugin) => `${plugin.name}=${plugin.fingerprint}`).join('\n');
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#plugins = plugins;
    this.#generation += 1;
    for (const listener of this.#listeners) listener();
  }

  #names(complaints: Set<string>): Set<string> {
    const names = new Set<string>();
    for (const entry of entries(this.#root.path)) {
      const described = this.#attempt(complaints, entry, () => nameInFolder(this.#root, entry));
      if (described !== null) names.add(described);
      else if (isExecutable(join(this.#root.path, entry))) names.add(entry);
      for (const inner of entries(join(this.#root.path, entry))) {
        const folder = `${entry}/${inner}`;
        const hasManifest = this.#attempt(complaints, folder, () => nameInFolder(this.#root, folder)) !== null;
        if (hasManifest || (described === null && isExecutable(join(this.#root.path, folder)))) names.add(folder);
      }
    }
    return names;
  }

  #attempt<T>(complaints: Set<string>, name: string, load: () => T | null): T | null {
    try {
      return load();
    } catch (error) {
      const { message } = error as Error;
      complaints.add(error instanceof TriggerFsError ? message : `plugin ${name}: ${message}`);
      return null;
    }
  }
}

/** Names in a folder that can be part of a plugin's name, sorted; none when it is no folder. */
function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => isPluginName(name))
      .sort();
  } catch {
    return [];
  }
}

function realFolder(path: string): string {
  try {
    const real = realpathSync(path);
    readdirSync(real);
    return real;
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot read the plugins’ folder (pluginspath): ${(cause as Error).message}`, { cause });
  }
}
