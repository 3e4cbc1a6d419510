import { connect } from '@nats-io/transport-node';
import type { Requester } from './closed-loop.ts';
import { loadRole, type Role } from './role.ts';

const TIMEOUT_MS = 30_000;

/** NATS request/reply by its JavaScript client: one connection, one inbox for all answers. */
export async function start({ url, subject }: { readonly url: string; readonly subject: string }): Promise<Role> {
  const connection = await connect({ servers: url });
  const requester: Requester = {
    request: (exchange) => {
      connection.request(subject, exchange.payload, { timeout: TIMEOUT_MS }).then(
        (message) => {
          exchange.answered(message.data);
          exchange.done(null);
        },
        (error: unknown) => exchange.done(String(error)),
      );
    },
  };
  return loadRole(requester, () => connection.close());
}
