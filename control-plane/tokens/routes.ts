import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { TokenCreate, TokenView, TokenWithSecret } from '../../protocol/http/token.ts';
import { revokeSession } from '../auth/repository.ts';
import { apiTokenSession, REVOCATION_S } from '../auth/sessions.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import * as tokens from './repository.ts';

/** API tokens, which act for their owner within their scopes. */
export function registerTokens(app: App, { database }: Services): void {
  app.get(
    '/v1/tokens',
    { config: { policy: 'person' }, schema: { summary: 'Own API tokens; admins see all', response: { 200: listOf(TokenView) } } },
    async (request) => {
      const principal = principalOf(request);
      return { items: await database.inTeam(principal.teamId, (tx) => tokens.listTokens(tx, principal)) };
    },
  );

  app.post(
    '/v1/tokens',
    {
      config: { policy: 'person' },
      schema: { summary: 'Make an API token; it is shown only now', body: TokenCreate, response: { 201: TokenWithSecret } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { name, scopes = ['invoke'], expiresAt = null } = request.body;
      if (expiresAt !== null && Date.parse(expiresAt) <= Date.now())
        throw new TriggerFsError('TFS_BAD_REQUEST', 'expiresAt is in the past');
      const made = await database.inTeam(principal.teamId, async (tx) => {
        const { id, token } = await tokens.createToken(tx, principal, { name, scopes, expiresAt });
        return { ...(await tokens.findToken(tx, principal, id)), token };
      });
      return reply.code(201).send(made);
    },
  );

  app.delete(
    '/v1/tokens/:name',
    {
      config: { policy: 'person' },
      schema: { summary: 'Delete an API token and end its sessions', params: ObjectParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.inTeam(principal.teamId, async (tx) => {
        const token = await tokens.findToken(tx, principal, request.params.name);
        await tokens.deleteToken(tx, principal.teamId, token.id);
        await revokeSession(tx, apiTokenSession(token.hash), REVOCATION_S);
      });
      return reply.code(204).send(null);
    },
  );
}
