import { createHash } from 'node:crypto';
import { INVOCATION_ID_BYTES } from '../../protocol/records.ts';

/**
 * Invocation id of one slot of a schedule: the same wherever and how often it is made, so that a slot that is
 * reported twice is known. UUID version 7 with the time of the slot; the rest is a hash of schedule and time.
 */
export function slotInvocationId(schedule: number, dueMs: number): Buffer {
  const id = createHash('sha256').update(`triggerfs-slot:${schedule}:${dueMs}`).digest().subarray(0, INVOCATION_ID_BYTES);
  const bytes = Buffer.from(id);
  bytes.copyWithin(6, 0, INVOCATION_ID_BYTES - 6);
  bytes.writeUIntBE(dueMs, 0, 6);
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  return bytes;
}
