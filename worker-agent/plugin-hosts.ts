import type { BoundPlan, PluginHost } from './catalogue/bound-plan.ts';
import type { Catalogue } from './catalogue/catalogue.ts';
import type { Plugin } from './catalogue/plugin.ts';
import { ExecHost, type ExecHostOptions } from './exec/exec-host.ts';
import { ResidentHost, type ResidentHostOptions } from './resident/resident-host.ts';

/** Everything that executes plugins on this worker. */
export class PluginHosts {
  readonly #exec: ExecHost;
  readonly #residents = new Map<string, ResidentHost>();
  readonly #options: ResidentHostOptions;

  constructor(options: ExecHostOptions & ResidentHostOptions) {
    this.#options = options;
    this.#exec = new ExecHost(options);
  }

  /** Gets ready for the first run. */
  start(): void {
    this.#exec.warm();
  }

  /** The host of a plugin; a resident one starts no process yet. */
  readonly find = (plugin: Plugin): PluginHost => {
    if (plugin.manifest.kind === 'exec') return this.#exec.forPlugin(plugin);
    const known = this.#residents.get(plugin.name);
    known?.update(plugin);
    const host = known ?? new ResidentHost(plugin, this.#options);
    this.#residents.set(plugin.name, host);
    return host;
  };

  /** Plugins changed on disk: resident ones are replaced, removed ones end after their open runs. */
  update(catalogue: Catalogue): void {
    const names = new Set(catalogue.announced().map(({ name }) => name));
    for (const [name, host] of this.#residents) {
      const plugin = names.has(name) ? catalogue.find(name) : null;
      if (plugin?.manifest.kind === 'resident') host.update(plugin);
      else host.shutdown();
      if (plugin === null) this.#residents.delete(name);
    }
  }

  /** A plan is not used any more. */
  forget(plan: BoundPlan): void {
    this.#exec.forget(plan);
    for (const host of this.#residents.values()) host.forget(plan);
  }

  /** Asks resident plugins to end, and waits until they have; those that do not are killed within the grace. */
  async shutdown(): Promise<void> {
    this.#exec.stop();
    for (const host of this.#residents.values()) host.shutdown();
    while ([...this.#residents.values()].some((host) => !host.idle)) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /** Kills every plugin's process at once. */
  kill(): void {
    this.#exec.kill();
    for (const host of this.#residents.values()) host.kill();
  }
}
