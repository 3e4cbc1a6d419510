import { Type } from 'typebox';
import { MailList, MailParams, MailQuery } from '../../protocol/http/mailbox.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { countUnread, listMails, readMail } from './repository.ts';

const PAGE = 50;

/** Mailboxes of the caller and of their team. */
export function registerMailbox(app: App, { database }: Services): void {
  app.get(
    '/v1/mail',
    {
      config: { policy: 'account' },
      schema: { summary: 'Letters to the caller and to the team, newest first', querystring: MailQuery, response: { 200: MailList } },
    },
    async (request) => {
      const principal = principalOf(request);
      const { unread, before, limit } = request.query;
      const filter = {
        unread: unread === 'true',
        before: before === undefined ? null : Number(before),
        limit: limit === undefined ? PAGE : Number(limit),
      };
      const items = await database.asUser(principal, (tx) => listMails(tx, principal, filter));
      return { items, unread: await countUnread(database, principal.id, principal.teamId) };
    },
  );

  app.post(
    '/v1/mail/:id/read',
    {
      config: { policy: 'account' },
      schema: { summary: 'Mark a letter as read by the caller', params: MailParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.asUser(principal, (tx) => readMail(tx, principal, Number(request.params.id)));
      return reply.code(204).send(null);
    },
  );
}
