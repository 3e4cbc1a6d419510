import { TriggerFsError } from '../../../protocol/errors.ts';
import type { MaintenanceView } from '../../../protocol/http/maintenance.ts';
import { parseDuration } from '../../../protocol/quantity.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';

const COLUMNS: readonly Column<MaintenanceView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'begins', of: ({ startsAt }) => shownTime(startsAt) },
  { title: 'reason', of: ({ reason }) => reason },
  { title: 'announced by', of: ({ announcedBy }) => announcedBy ?? '' },
];

/** Commands about maintenance of the installation; announcing it is for its operators. */
export const MAINTENANCE: readonly Command[] = [
  {
    pattern: 'show maintenance',
    doc: 'Announced maintenance',
    modes: EVERYWHERE,
    run: async (call) => table(COLUMNS, await call.connection.list<MaintenanceView>('/v1/maintenance', call.signal)),
  },
  {
    pattern: 'request maintenance <reason> in <duration>',
    doc: 'Announce maintenance to all teams; brokers drain when it begins',
    modes: EVERYWHERE,
    run: announce,
  },
  { pattern: 'request maintenance cancel <maintenance>', doc: 'Take back maintenance that has not begun', modes: EVERYWHERE, run: cancel },
];

async function announce(call: Call): Promise<Answer> {
  const { reason, duration = '' } = call.values;
  const ms = parseDuration(duration);
  if (ms === null) throw new TriggerFsError('TFS_USAGE', `maintenance begins after a duration such as 10m, not ${duration}`);
  const body = { reason, inSeconds: Math.round(ms / 1000) };
  const made = await call.connection.call<MaintenanceView>({ method: 'POST', path: '/v1/maintenance', body });
  return text([`Maintenance begins at ${shownTime(made.startsAt)}; all teams are told.`], made);
}

async function cancel(call: Call): Promise<null> {
  await call.connection.call({ method: 'DELETE', path: `/v1/maintenance/${encodeURIComponent(call.values.maintenance ?? '')}` });
  return null;
}
