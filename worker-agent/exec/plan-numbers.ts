import type { BoundPlan } from '../catalogue/bound-plan.ts';
import type { Plugin } from '../catalogue/plugin.ts';
import { type Sandbox, spawnIdentity } from './sandbox.ts';
import type { SpawnPlan } from './spawner.ts';

interface Numbered {
  readonly number: number;
  readonly plugin: Plugin;
}

/**
 * Numbers what the processes of a plan are started with, so that the spawner is told once and not for every run.
 * A plan whose plugin changed on disk gets a new number.
 */
export class PlanNumbers {
  readonly #sandbox: Sandbox;
  readonly #worker: string;
  readonly #numbers = new WeakMap<BoundPlan, Numbered>();
  #last = 0;

  constructor(sandbox: Sandbox, worker: string) {
    this.#sandbox = sandbox;
    this.#worker = worker;
  }

  /** Number of a plan with this plugin. */
  numberOf(plan: BoundPlan, plugin: Plugin): number {
    const known = this.#numbers.get(plan);
    if (known?.plugin === plugin) return known.number;
    this.#last += 1;
    this.#numbers.set(plan, { number: this.#last, plugin });
    return this.#last;
  }

  /** Forgets a plan; returns the number that it had, or null. */
  forget(plan: BoundPlan): number | null {
    const known = this.#numbers.get(plan);
    this.#numbers.delete(plan);
    return known?.number ?? null;
  }

  /**
   * What all runs of a plan share: the program, and an environment of what every plugin inherits, the arguments
   * as TRIGGERFS_ARG_<NAME> and, with their types, as JSON in TRIGGERFS_ARGS, and who asked for what.
   */
  describe(plan: BoundPlan, plugin: Plugin): SpawnPlan {
    const env: Record<string, string> = { ...this.#sandbox.environment };
    for (const [name, value] of Object.entries(plan.args)) env[argumentVariable(name)] = String(value);
    Object.assign(env, {
      TRIGGERFS_ARGS: JSON.stringify(plan.args),
      TRIGGERFS_SERVICE: plan.plan.service,
      TRIGGERFS_CALLER: plan.plan.caller,
      TRIGGERFS_TEAM: plan.plan.callerTeam,
      TRIGGERFS_PLUGIN: plan.plan.plugin,
      TRIGGERFS_WORKER: this.#worker,
    });
    return { program: plugin.program, args: plugin.arguments, cwd: this.#sandbox.cwd, env, ...spawnIdentity(this.#sandbox) };
  }
}

/** `TRIGGERFS_ARG_API_KEY` for `api-key`. */
export function argumentVariable(name: string): string {
  return `TRIGGERFS_ARG_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}
