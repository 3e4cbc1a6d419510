import { ArgumentError, type Arguments, typeArguments } from '../../plugins/sdk/arguments.ts';
import type { Plan } from '../../protocol/control.ts';
import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import { Verdict, type VerdictNumber } from '../../protocol/verdicts.ts';
import type { Run } from '../runs/run.ts';
import type { Catalogue } from './catalogue.ts';
import type { Plugin } from './plugin.ts';

/** Where the body of a TASK stands; valid only during the call that passes it. */
export interface TaskBody {
  readonly batch: Buffer;
  /** Offset of the invocation id. */
  readonly invocation: number;
  /** Offset of the payload, and its end. */
  readonly payload: number;
  readonly end: number;
}

/** Executes the runs of one plugin. */
export interface PluginHost {
  start(run: Run, task: TaskBody, now: number): void;
}

/** Why a plan's runs are not executed. */
export interface Refusal {
  readonly verdict: VerdictNumber;
  readonly code: ErrorCode;
  readonly detail: string;
}

/** Gives the host of a plugin. */
export type HostFinder = (plugin: Plugin) => PluginHost;

let lastId = 0;
/** Numbers of the teams that have called so far: as many as there are teams. */
const callers = new Map<string, number>();

/**
 * A broker's plan, bound to the plugin of this machine: looked up, checked and typed once for all its runs.
 * It is bound anew when the catalogue has changed.
 */
export class BoundPlan {
  /** Number of the plan on this worker, over all brokers. */
  readonly id: number;
  readonly plan: Plan;
  /** Number of the calling team on this worker: callers choose ids, so an id means something only within its team. */
  readonly caller: number;
  #host: PluginHost | null = null;
  #refusal: Refusal | null = null;
  #args: Arguments = {};
  #generation = -1;

  constructor(plan: Plan) {
    lastId = lastId === 0xffffffff ? 1 : lastId + 1;
    this.id = lastId;
    this.plan = plan;
    this.caller = numberOf(plan.callerTeam);
  }

  /** Arguments with their types; valid after `bind` without a refusal. */
  get args(): Arguments {
    return this.#args;
  }

  /** Why the plan's runs are denied, or null; known after `bind`. */
  get refusal(): Refusal | null {
    return this.#refusal;
  }

  /** Returns the host for a run, or null when the plan is refused. Costs nothing while the catalogue is unchanged. */
  bind(catalogue: Catalogue, hosts: HostFinder): PluginHost | null {
    if (this.#generation === catalogue.generation && this.#host !== null) return this.#host;
    this.#generation = catalogue.generation;
    this.#host = null;
    this.#refusal = null;
    try {
      const plugin = this.#find(catalogue);
      this.#args = typeArguments(plugin.manifest.args, this.plan.args);
      this.#host = hosts(plugin);
    } catch (error) {
      this.#refusal = refusalOf(this.plan, error);
    }
    return this.#host;
  }

  #find(catalogue: Catalogue): Plugin {
    const name = this.plan.plugin;
    if (!catalogue.allows(name))
      throw new TriggerFsError('TFS_PLUGIN_NOT_ALLOWED', `this worker’s configuration does not allow the plugin ${name}`);
    const plugin = catalogue.find(name);
    if (plugin === null) throw new TriggerFsError('TFS_UNKNOWN_PLUGIN', `this worker has no plugin ${name}`);
    if (plugin.manifest.kind === 'stream') {
      throw new TriggerFsError('TFS_PLUGIN_NOT_ALLOWED', `the plugin ${name} is a stream: it takes no requests`);
    }
    return plugin;
  }
}

function numberOf(team: string): number {
  const known = callers.get(team);
  if (known !== undefined) return known;
  callers.set(team, callers.size);
  return callers.size - 1;
}

function refusalOf(plan: Plan, error: unknown): Refusal {
  if (error instanceof ArgumentError) {
    return { verdict: Verdict.denied, code: 'TFS_BAD_ARGUMENT', detail: `plugin ${plan.plugin}: ${error.message}` };
  }
  const { code, message } = TriggerFsError.from(error);
  return { verdict: code === 'TFS_PLUGIN_FAILED' ? Verdict.failed : Verdict.denied, code, detail: message };
}
