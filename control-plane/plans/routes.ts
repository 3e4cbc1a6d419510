import { PlanView } from '../../protocol/http/plan.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { readPlan } from './repository.ts';

/** The plan of the team. */
export function registerPlans(app: App, { database }: Services): void {
  app.get(
    '/v1/plan',
    { config: { policy: 'read' }, schema: { summary: 'What the team uses of its plan', response: { 200: PlanView } } },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, (tx) => readPlan(tx, principal));
    },
  );
}
