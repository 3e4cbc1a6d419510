import { TriggerFsError } from '../../protocol/errors.ts';
import type { PlanView } from '../../protocol/http/plan.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';

type Limit = PlanView['limits'][number];

interface PlanRow {
  readonly name: string;
  readonly publicServices: boolean;
  readonly historyDays: number;
  readonly limits: Limit[];
}

/** The team's plan with what is used of it; the triggers of the database keep the same numbers. @throws TriggerFsError TFS_UNKNOWN_TEAM */
export async function readPlan(tx: Transaction, principal: Principal): Promise<PlanView> {
  const [plan] = await tx.rows<PlanRow>(
    `select p.name, p.public_services as "publicServices", coalesce(t.history_days, p.history_days) as "historyDays",
       (select json_agg(json_build_object('resource', r.kind,
            'used', case r.kind when 'teams' then o.used else triggerfs.team_use(t.id, r.kind) end,
            'limit', case r.kind when 'teams' then case when o.used = 0 then p.teams else o.allowed end
              else (to_jsonb(p) ->> r.kind)::integer end) order by r.position)
          from unnest(array['teams', 'users', 'workers', 'services', 'triggers', 'schedules', 'queued']) with ordinality r (kind, position)) as limits
     from triggerfs.teams t join triggerfs.plans p on p.name = t.plan cross join triggerfs.owned_teams($2) o where t.id = $1`,
    [principal.teamId, principal.id],
  );
  if (plan === undefined) throw new TriggerFsError('TFS_UNKNOWN_TEAM', 'the team is gone');
  return { plan: plan.name, publicServices: plan.publicServices, historyDays: plan.historyDays, limits: plan.limits };
}
