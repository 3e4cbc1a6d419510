import { Type } from 'typebox';
import { listOf } from '../../protocol/http/common.ts';
import { InvitationView, InviteCreate, InviteParams, InviteView, Joined } from '../../protocol/http/invite.ts';
import { assertMayGive } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { sendMail } from '../mailbox/repository.ts';
import { inviteMail } from '../people/letters.ts';
import { queueInviteMail } from '../people/repository.ts';
import * as invites from './repository.ts';

const INVITES_PER_MINUTE = 60;

/** Invitations: of the team to others (`invites`), and of others to the caller (`invitations`). */
export function registerInvites(app: App, { database, mailer }: Services): void {
  app.get(
    '/v1/invites',
    { config: { policy: 'administer' }, schema: { summary: 'Open invitations of the team', response: { 200: listOf(InviteView) } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return { items: await database.inTeam(teamId, (tx) => invites.listInvites(tx, teamId)) };
    },
  );

  app.post(
    '/v1/invites',
    {
      config: { policy: 'administer', rateLimit: { max: INVITES_PER_MINUTE, timeWindow: 60_000 } },
      schema: { summary: 'Invite someone by identity or mail address', body: InviteCreate, response: { 201: InviteView } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { body } = request;
      const role = body.role ?? 'member';
      assertMayGive(principal, role);
      const [invite, invited] = await database.inTeam(principal.teamId, async (tx) => {
        const found =
          'identity' in body ? await invites.invitedByIdentity(tx, body.identity) : await invites.invitedByEmail(tx, body.email);
        const to = 'identity' in body ? { userId: Number(found.userId) } : { email: body.email };
        const id = await invites.createInvite(tx, principal, to, role);
        if (found.userId !== null) await sendMail(tx, { userId: found.userId }, letterOf(principal.team, role, principal.identity, id));
        if (found.email !== null && mailer.hasServer) await queueInviteMail(tx, id);
        return [await invites.findInvite(tx, principal.teamId, id), found] as const;
      });
      if (invited.email !== null && !mailer.hasServer) {
        const { team, identity: invitedBy } = principal;
        mailer.print(inviteMail(invited.email, { team, role, invitedBy, hasAccount: invited.userId !== null }));
      }
      return reply.code(201).send(invite);
    },
  );

  app.delete(
    '/v1/invites/:id',
    {
      config: { policy: 'administer' },
      schema: { summary: 'Withdraw an invitation', params: InviteParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.inTeam(principal.teamId, async (tx) => {
        const invite = await invites.findInvite(tx, principal.teamId, Number(request.params.id));
        assertMayGive(principal, invite.role);
        await invites.deleteInvite(tx, principal.teamId, invite.id);
      });
      return reply.code(204).send(null);
    },
  );

  app.get(
    '/v1/invitations',
    { config: { policy: 'account' }, schema: { summary: 'Invitations to the caller', response: { 200: listOf(InvitationView) } } },
    async (request) => {
      const { id } = principalOf(request);
      return { items: await database.fleet((tx) => invites.listInvitations(tx, id)) };
    },
  );

  app.post(
    '/v1/invitations/:id/accept',
    {
      config: { policy: 'account' },
      schema: { summary: 'Join the team of an invitation', params: InviteParams, response: { 200: Joined } },
    },
    async (request) => {
      const { id } = principalOf(request);
      return database.fleet((tx) => invites.acceptInvitation(tx, id, Number(request.params.id)));
    },
  );

  app.post(
    '/v1/invitations/:id/decline',
    {
      config: { policy: 'account' },
      schema: { summary: 'Throw an invitation away', params: InviteParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const { id } = principalOf(request);
      await database.fleet((tx) => invites.declineInvitation(tx, id, Number(request.params.id)));
      return reply.code(204).send(null);
    },
  );
}

function letterOf(team: string, role: string, by: string, id: number): { kind: string; subject: string; body: string } {
  return {
    kind: 'invite',
    subject: `Invitation to the team ${team}`,
    body: `${by} invites you to the team ${team} as ${role}. It is number ${id} of your invitations and ends after 14 days.`,
  };
}
