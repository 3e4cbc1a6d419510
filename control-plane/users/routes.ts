import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { PasswordChange, UserChange, UserCreate, UserView } from '../../protocol/http/user.ts';
import { networkOf } from '../../runtime/network.ts';
import { Attempts } from '../auth/attempts.ts';
import { assertMayGive } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { assertPassword } from '../people/password.ts';
import * as users from './repository.ts';

const PASSWORD_FAILURES = 5;

/** Members of the team, and the caller's own password. */
export function registerUsers(app: App, { database, logins, hashing, passwordCost }: Services): void {
  const attempts = new Attempts(PASSWORD_FAILURES);

  app.get(
    '/v1/users',
    { config: { policy: 'read' }, schema: { summary: 'Members of the team', response: { 200: listOf(UserView) } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return { items: await database.inTeam(teamId, (tx) => users.listMembers(tx, teamId)) };
    },
  );

  app.get(
    '/v1/users/:name',
    { config: { policy: 'read' }, schema: { summary: 'A member of the team', params: ObjectParams, response: { 200: UserView } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return database.inTeam(teamId, (tx) => users.findMember(tx, teamId, request.params.name));
    },
  );

  app.post(
    '/v1/users',
    {
      config: { policy: 'administer' },
      schema: { summary: 'Make an account for the team; who has one is invited', body: UserCreate, response: { 201: UserView } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { identity, email, secret, role = 'member' } = request.body;
      assertMayGive(principal, role);
      assertPassword(secret, [identity, email ?? '']);
      // Hashing takes long, so it runs where logins do.
      const member = await hashing.run(networkOf(request.ip), false, () =>
        logins.inTeam(principal.teamId, async (tx) => {
          const id = await users.createAccount(tx, { identity, email: email ?? null, secret, cost: passwordCost });
          await users.addMember(tx, principal.teamId, id, role);
          return users.findMember(tx, principal.teamId, id);
        }),
      );
      return reply.code(201).send(member);
    },
  );

  app.patch(
    '/v1/users/:name',
    {
      config: { policy: 'administer' },
      schema: { summary: 'Change the role of a member', params: ObjectParams, body: UserChange, response: { 200: UserView } },
    },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, async (tx) => {
        const member = await users.findMember(tx, principal.teamId, request.params.name);
        assertMayGive(principal, member.role);
        assertMayGive(principal, request.body.role);
        await users.changeRole(tx, principal.teamId, member.id, request.body.role);
        return { ...member, role: request.body.role };
      });
    },
  );

  app.delete(
    '/v1/users/:name',
    { config: { policy: 'administer' }, schema: { summary: 'Remove a member', params: ObjectParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.inTeam(principal.teamId, async (tx) => {
        const member = await users.findMember(tx, principal.teamId, request.params.name);
        assertMayGive(principal, member.role);
        await users.removeMember(tx, principal.teamId, member.id);
      });
      return reply.code(204).send(null);
    },
  );

  app.put(
    '/v1/password',
    {
      config: { policy: 'account' },
      schema: { summary: 'Change the own password and end all sessions', body: PasswordChange, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const { id, identity } = principalOf(request);
      const { secret, newSecret } = request.body;
      assertPassword(newSecret, [identity]);
      const change = { current: secret, next: newSecret, cost: passwordCost };
      const changed = await attempts.run(String(id), async () => {
        const done = await hashing.run(networkOf(request.ip), false, () => logins.fleet((tx) => users.changePassword(tx, id, change)));
        return done ? true : undefined;
      });
      if (changed === undefined) throw new TriggerFsError('TFS_BAD_CREDENTIALS', 'the current password is another one');
      return reply.code(204).send(null);
    },
  );
}
