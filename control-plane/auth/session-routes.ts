import { randomUUID } from 'node:crypto';
import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf } from '../../protocol/http/common.ts';
import { LoginResponse, SessionParams, SessionView, SwitchRequest } from '../../protocol/http/session.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { iso } from '../sql.ts';
import { revokeSession, teamsOf } from './repository.ts';
import { clientOf } from './routes.ts';
import { accountPrincipal, REVOCATION_S } from './sessions.ts';

/** Switching between teams, and the caller's own sessions. */
export function registerSessions(app: App, { database, sessions }: Services): void {
  app.post(
    '/v1/switch',
    {
      config: { policy: 'account' },
      schema: { summary: 'A new session in another team of the caller, or in none', body: SwitchRequest, response: { 200: LoginResponse } },
    },
    async (request) => {
      const principal = principalOf(request);
      // Switching is no new login: the session ends when the first one would have.
      const account = accountPrincipal(principal, randomUUID(), principal.auth);
      const wanted = request.body.team;
      if (wanted === null) return sessions.openForPerson(account, undefined, clientOf(request));
      const team = (await teamsOf(database, principal.id)).find(({ name }) => name.toLowerCase() === wanted.toLowerCase());
      if (team === undefined) throw new TriggerFsError('TFS_UNKNOWN_TEAM', `you are in no team ${wanted}`);
      const { id: teamId, name, role } = team;
      return sessions.openForPerson({ ...account, kind: 'user', teamId, team: name, role }, undefined, clientOf(request));
    },
  );

  app.get(
    '/v1/sessions',
    { config: { policy: 'account' }, schema: { summary: 'Sessions of the caller', response: { 200: listOf(SessionView) } } },
    async (request) => {
      const principal = principalOf(request);
      const teams = new Map((await teamsOf(database, principal.id)).map(({ id, name }) => [id, name]));
      const rows = await database.asUser(principal, (tx) =>
        tx.rows<Omit<SessionView, 'team'> & { teamId: number | null }>(
          `select session_id as id, team_id as "teamId", address, agent, ${iso('created_at')} as "createdAt", ${iso('used_at')} as "usedAt",
             session_id = $2 as current
           from triggerfs.sessions where user_id = $1 and expires_at > now() order by created_at, session_id`,
          [principal.id, principal.sid],
        ),
      );
      return { items: rows.map(({ teamId, ...row }) => ({ ...row, team: teamId === null ? null : (teams.get(teamId) ?? null) })) };
    },
  );

  app.delete(
    '/v1/sessions/:id',
    {
      config: { policy: 'account' },
      schema: { summary: 'End a session of the caller', params: SessionParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      await database.asUser(principal, async (tx) => {
        const ended = await tx.run('delete from triggerfs.sessions where user_id = $1 and session_id = $2', [principal.id, id]);
        if (ended === 0) throw new TriggerFsError('TFS_NOT_FOUND', `you have no session ${id}`);
        await revokeSession(tx, id, REVOCATION_S);
      });
      return reply.code(204).send(null);
    },
  );
}
