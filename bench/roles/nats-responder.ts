import { connect } from '@nats-io/transport-node';
import { type Role, servingRole } from './role.ts';

/** Answers each NATS request with what it was sent, from the subscription's callback: the quickest way its client has. */
export async function start({ url, subject }: { readonly url: string; readonly subject: string }): Promise<Role> {
  const connection = await connect({ servers: url });
  connection.subscribe(subject, {
    callback: (error, message) => {
      if (error === null) message.respond(message.data);
    },
  });
  await connection.flush();
  return servingRole(url, () => connection.close());
}
