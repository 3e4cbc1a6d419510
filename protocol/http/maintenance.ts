import { type Static, Type } from 'typebox';
import { CLOSED, Timestamp } from './common.ts';

const MAX_SECONDS = 30 * 86_400;

/** Announced maintenance. */
export const MaintenanceView = Type.Object({
  id: Type.Integer(),
  reason: Type.String(),
  startsAt: Timestamp,
  /** Null when that user is gone. */
  announcedBy: Type.Union([Type.String(), Type.Null()]),
  createdAt: Timestamp,
});
export type MaintenanceView = Static<typeof MaintenanceView>;

/** Body of `POST /v1/maintenance`. */
export const MaintenanceCreate = Type.Object(
  { reason: Type.String({ minLength: 1, maxLength: 500 }), inSeconds: Type.Integer({ minimum: 0, maximum: MAX_SECONDS }) },
  CLOSED,
);

/** Path of one maintenance. */
export const MaintenanceParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,9}$' }) });
