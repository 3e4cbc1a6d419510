import { createHash } from 'node:crypto';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { CatchUp, Overlap } from '../../protocol/http/schedule.ts';
import { parseServiceAddress } from '../../protocol/names.ts';
import type { ResidentSchedule } from '../../protocol/resident.ts';
import type { Directory } from '../directory/directory.ts';

/** A row of `triggerfs.keep_schedules`. */
export interface ResidentRow {
  readonly schedule: number;
  readonly generation: number;
  readonly from: Date;
  readonly taken: boolean;
  /** When another journal's time is over; null: it is the asking journal's. */
  readonly waiting: Date | null;
  /** Another journal waits for it. */
  readonly contested: boolean;
  readonly name: string;
  readonly cron: string | null;
  readonly timezone: string;
  readonly everyMs: number | null;
  readonly anchor: Date;
  readonly runAt: Date | null;
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  readonly payload: string;
  readonly timeoutMs: number | null;
  readonly catchup: CatchUp;
  readonly catchupWindowMs: number;
  readonly overlap: Overlap;
  readonly offsetMs: number;
  readonly pausedUntil: Date | null;
  readonly offlineMs: number;
}

/** The definition that a worker is sent. Its version is a hash of what it says: equal ones say the same. */
export function definitionOf(row: ResidentRow, teamId: number, directory: Directory): ResidentSchedule {
  const { schedule, generation, name, taken, cron, timezone, everyMs, service, plugin, args, payload, catchup, overlap } = row;
  const { timeoutMs, denied } = admit(row, teamId, directory);
  const said = {
    name,
    cron,
    timezone,
    everyMs,
    anchor: row.anchor.getTime(),
    runAt: row.runAt?.getTime() ?? null,
    service,
    plugin,
    args,
    payload,
    timeoutMs,
    ...(denied === null ? {} : { denied }),
    catchup,
    catchupWindowMs: Math.round(row.catchupWindowMs),
    overlap,
    offsetMs: Math.round(row.offsetMs),
    pausedUntil: row.pausedUntil?.getTime() ?? 0,
    offlineMs: Math.round(row.offlineMs),
  };
  const version = createHash('sha256').update(JSON.stringify(said)).digest().readUIntBE(0, 6) + 1;
  return { schedule, generation, version, from: row.from.getTime(), taken, ...said };
}

/** By the rules for requests: the service must exist and allow the plugin; its time limit counts where the schedule has none. */
function admit(row: ResidentRow, teamId: number, directory: Directory): { timeoutMs: number; denied: string | null } {
  const timeout = row.timeoutMs === null ? null : Math.max(Math.round(row.timeoutMs), 1);
  try {
    const address = parseServiceAddress(row.service);
    if (address === null) throw new TriggerFsError('TFS_BAD_NAME', `${row.service} is not the name of a service`);
    const service = directory.service(address, teamId);
    if (service.teamId !== teamId && service.visibility !== 'public')
      throw new TriggerFsError('TFS_WRONG_TEAM', `service ${row.service} is not public`);
    const allowed = service.plugins === null || service.plugins.has(row.plugin);
    return {
      timeoutMs: timeout ?? service.timeoutMs,
      denied: allowed ? null : `service ${service.name} does not allow plugin ${row.plugin}`,
    };
  } catch (error) {
    return { timeoutMs: timeout ?? 1, denied: TriggerFsError.from(error).message };
  }
}
