import type { FastifyReply } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { HttpSettings } from '../../protocol/http/gateway.ts';
import { ANSWER_BYTES } from './json-answer.ts';

const DEFAULT_FAILED = 500;
/** Answers with these have no body. */
const EMPTY: ReadonlySet<number> = new Set([204, 205, 304]);

/** How a plugin ended by itself. */
export interface RawResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly truncated: boolean;
}

/**
 * Answers with what the plugin printed. Pages of all teams share the gateway's origin, so they are kept in a sandbox of their own
 * unless the service sets another policy, and browsers take the content type at its word.
 * @throws TriggerFsError TFS_PLUGIN_FAILED for output that does not fit
 */
export function sendRaw(reply: FastifyReply, http: HttpSettings, { exitCode, stdout, truncated }: RawResult): FastifyReply {
  if (truncated) throw new TriggerFsError('TFS_PLUGIN_FAILED', `the plugin printed more than an answer holds, ${ANSWER_BYTES} bytes`);
  const status = http.statuses[String(exitCode)] ?? (exitCode === 0 ? 200 : DEFAULT_FAILED);
  reply.headers({
    'x-content-type-options': 'nosniff',
    'content-security-policy': 'sandbox allow-downloads allow-forms allow-popups allow-scripts',
    ...http.headers,
  });
  if (EMPTY.has(status)) return reply.code(status).send();
  return reply.code(status).type(http.contentType).send(stdout);
}
