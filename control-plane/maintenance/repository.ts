import { TriggerFsError } from '../../protocol/errors.ts';
import type { MaintenanceView } from '../../protocol/http/maintenance.ts';
import type { Transaction } from '../database.ts';
import { iso } from '../sql.ts';

const MAINTENANCES = `select m.id, m.reason, ${iso('m.starts_at')} as "startsAt", u.identity as "announcedBy", ${iso('m.created_at')} as "createdAt"
  from triggerfs.maintenances m left join triggerfs.users u on u.id = m.announced_by`;

/** Maintenance to come, and what began a moment ago. */
export function listMaintenances(tx: Transaction): Promise<MaintenanceView[]> {
  return tx.rows<MaintenanceView>(`${MAINTENANCES} where m.starts_at > now() - interval '1 minute' order by m.starts_at, m.id`);
}

/** Announces maintenance to all teams and to the brokers. */
export async function announceMaintenance(
  tx: Transaction,
  operatorId: number,
  announcement: { readonly reason: string; readonly inSeconds: number },
): Promise<MaintenanceView> {
  const { reason, inSeconds } = announcement;
  const [made] = await tx.rows<{ id: number }>('select triggerfs.announce_maintenance($1, $2, $3) as id', [reason, inSeconds, operatorId]);
  const [view] = await tx.rows<MaintenanceView>(`${MAINTENANCES} where m.id = $1`, [made?.id]);
  return view as MaintenanceView;
}

/** Takes back maintenance. @throws TriggerFsError TFS_NOT_FOUND when there is none, or it has begun */
export async function cancelMaintenance(tx: Transaction, id: number): Promise<void> {
  const [row] = await tx.rows<{ cancelled: boolean }>('select triggerfs.cancel_maintenance($1) as cancelled', [id]);
  if (row?.cancelled !== true) throw new TriggerFsError('TFS_NOT_FOUND', `there is no maintenance ${id} that has not begun`);
}
