import { ERRORS } from '../../protocol/errors.ts';
import type { Outcome } from '../../protocol/outcome.ts';

/**
 * Status when the plugin itself ended with another exit code than 0. Not 200, so that `curl -f`, webhook senders and monitors
 * see the failure; not 5xx, so that proxies neither repeat the request nor take the gateway for broken.
 */
const PLUGIN_FAILED = 422;

/** HTTP status of an invocation that has ended. */
export function statusOf({ verdict, error }: Outcome): number {
  if (verdict === 'ok') return 200;
  return error === null ? PLUGIN_FAILED : ERRORS[error].status;
}
