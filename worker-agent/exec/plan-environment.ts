import type { BoundPlan } from '../catalogue/bound-plan.ts';
import type { Sandbox } from './sandbox.ts';

const cache = new WeakMap<BoundPlan, { args: BoundPlan['args']; environment: Readonly<Record<string, string>> }>();

/**
 * The part of a plugin's environment that all runs of a plan share: what every plugin inherits, the arguments
 * as TRIGGERFS_ARG_<NAME> and, with their types, as JSON in TRIGGERFS_ARGS, and who asked for what.
 */
export function planEnvironment(plan: BoundPlan, sandbox: Sandbox, worker: string): Readonly<Record<string, string>> {
  const known = cache.get(plan);
  if (known !== undefined && known.args === plan.args) return known.environment;
  const environment: Record<string, string> = { ...sandbox.environment };
  for (const [name, value] of Object.entries(plan.args)) environment[argumentVariable(name)] = String(value);
  Object.assign(environment, {
    TRIGGERFS_ARGS: JSON.stringify(plan.args),
    TRIGGERFS_SERVICE: plan.plan.service,
    TRIGGERFS_CALLER: plan.plan.caller,
    TRIGGERFS_TEAM: plan.plan.callerTeam,
    TRIGGERFS_PLUGIN: plan.plan.plugin,
    TRIGGERFS_WORKER: worker,
  });
  cache.set(plan, { args: plan.args, environment });
  return environment;
}

/** `TRIGGERFS_ARG_API_KEY` for `api-key`. */
export function argumentVariable(name: string): string {
  return `TRIGGERFS_ARG_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}
