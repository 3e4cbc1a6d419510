import { randomUUID } from 'node:crypto';
import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf, ObjectParams, Role } from '../../protocol/http/common.ts';
import { AccountSession } from '../../protocol/http/session.ts';
import { LeaveRequest, TeamChange, TeamCreate, TeamView } from '../../protocol/http/team.ts';
import type { Principal } from '../auth/principal.ts';
import { clientOf } from '../auth/routes.ts';
import { accountPrincipal } from '../auth/sessions.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { leaveTeam } from '../users/repository.ts';
import { changeTeam, createTeam, currentTeam, deleteTeam, listTeams } from './repository.ts';

const TeamSummary = Type.Object({ id: Type.Integer(), name: Type.String(), role: Role });

/** Teams: a session works in one of them; the others are only listed. */
export function registerTeams(app: App, { database, sessions }: Services): void {
  app.get(
    '/v1/teams',
    { config: { policy: 'known' }, schema: { summary: 'Teams of the caller', response: { 200: listOf(TeamSummary) } } },
    async (request) => {
      const principal = principalOf(request);
      const items = await database.fleet((tx) => listTeams(tx, principal.id));
      // An API token belongs to one team and says nothing of the others.
      return { items: principal.kind === 'token' ? items.filter((team) => team.id === principal.teamId) : items };
    },
  );

  app.get(
    '/v1/teams/:name',
    { config: { policy: 'read' }, schema: { summary: 'The team of this session', params: ObjectParams, response: { 200: TeamView } } },
    async (request) => {
      const principal = principalOf(request);
      assertOwnTeam(principal, request.params.name);
      return database.inTeam(principal.teamId, (tx) => currentTeam(tx, principal));
    },
  );

  app.post(
    '/v1/teams',
    {
      config: { policy: 'account' },
      schema: { summary: 'Make a team and become its owner', body: TeamCreate, response: { 201: TeamSummary } },
    },
    async (request, reply) => {
      const { id } = principalOf(request);
      const { name, description } = request.body;
      const made = await database.fleet((tx) => createTeam(tx, id, name, description ?? ''));
      return reply.code(201).send({ id: made, name, role: 'owner' });
    },
  );

  app.patch(
    '/v1/teams/:name',
    {
      config: { policy: 'own' },
      schema: { summary: 'Change the team of this session', params: ObjectParams, body: TeamChange, response: { 200: TeamView } },
    },
    async (request) => {
      const principal = principalOf(request);
      assertOwnTeam(principal, request.params.name);
      return database.inTeam(principal.teamId, async (tx) => {
        await changeTeam(tx, principal.teamId, request.body);
        return currentTeam(tx, principal);
      });
    },
  );

  app.delete(
    '/v1/teams/:name',
    {
      config: { policy: 'own' },
      schema: { summary: 'Delete the team of this session with everything in it', params: ObjectParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      assertOwnTeam(principal, request.params.name);
      await database.inTeam(principal.teamId, (tx) => deleteTeam(tx, principal.teamId));
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/leave',
    {
      config: { policy: 'person' },
      schema: {
        summary: 'Leave the team of this session; the account goes on without it',
        body: LeaveRequest,
        response: { 200: AccountSession },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      assertOwnTeam(principal, request.body.team);
      await database.inTeam(principal.teamId, (tx) => leaveTeam(tx, principal.teamId, principal.id));
      const account = accountPrincipal(principal, randomUUID(), principal.auth);
      return sessions.openAccount(account, clientOf(request));
    },
  );
}

/** The same answer for teams that exist and for those that do not. */
function assertOwnTeam(principal: Principal, name: string): void {
  if (name.toLowerCase() === principal.team.toLowerCase() || name === String(principal.teamId)) return;
  throw new TriggerFsError('TFS_WRONG_TEAM', `this session works in the team ${principal.team}, not in ${name}`);
}
