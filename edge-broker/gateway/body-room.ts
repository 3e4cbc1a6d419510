import type { FastifyReply, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import type { Budget } from './budget.ts';

/** Largest body: a full payload as base64 with full arguments. */
export const BODY_BYTES: number = Math.ceil(LIMITS.payloadBytes / 3) * 4 + LIMITS.argsBytes + 4096;

declare module 'fastify' {
  interface FastifyRequest {
    /** Bytes of the body that are held for this request. */
    heldBytes: number;
  }
}

/** Makes room for the body before any of it is read; it is given back when the answer is done. @throws TriggerFsError TFS_BUSY */
export function reserveBody(request: FastifyRequest, reply: FastifyReply, bodies: Budget): void {
  assertPresent(reply);
  const announced = Number(request.headers['content-length']);
  const chunked = request.headers['transfer-encoding'] !== undefined;
  const bytes = Number.isNaN(announced) ? (chunked ? BODY_BYTES : 0) : Math.min(announced, BODY_BYTES);
  if (!bodies.take(bytes)) throw new TriggerFsError('TFS_BUSY', 'the gateway holds too many requests at the moment');
  request.heldBytes = bytes;
  reply.raw.once('close', () => bodies.give(request.heldBytes));
}

/** The body that was read; room that it did not need is given back. */
export function bodyOf(request: FastifyRequest, bodies: Budget): Buffer {
  const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0);
  bodies.give(request.heldBytes - body.length);
  request.heldBytes = body.length;
  return body;
}

/** Whoever has hung up gets nothing started; from here on, `close` is still to come. @throws TriggerFsError TFS_CANCELLED */
export function assertPresent(reply: FastifyReply): void {
  if (reply.raw.destroyed) throw new TriggerFsError('TFS_CANCELLED', 'the caller is gone');
}
