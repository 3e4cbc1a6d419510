import type { HookSettings } from '../../../protocol/http/gateway.ts';
import { type Delivery, header } from './signature.ts';

/** The answer to what senders send only to see whether somebody is there; null for everything else. */
export function greetingOf({ scheme }: HookSettings, delivery: Delivery): object | null {
  if (scheme === 'github' && header(delivery, 'x-github-event') === 'ping') return { pong: true };
  if (scheme === 'slack') return challengeOf(delivery.body);
  return null;
}

/** Slack wants its own words back. */
function challengeOf(body: Buffer): object | null {
  if (!body.includes('url_verification')) return null;
  try {
    const { type, challenge } = JSON.parse(body.toString('utf8')) as Readonly<Record<string, unknown>>;
    return type === 'url_verification' && typeof challenge === 'string' ? { challenge } : null;
  } catch {
    return null;
  }
}
