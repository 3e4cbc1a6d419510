import { Type } from 'typebox';
import { redactionAad } from '../../protocol/history-block.ts';
import { listOf } from '../../protocol/http/common.ts';
import { RedactionParams, RedactionView, RedactionWord } from '../../protocol/http/redaction.ts';
import { seal } from '../../runtime/sealing/index.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import * as redactions from './repository.ts';

/** Words that brokers blacken in what they store. */
export function registerRedactions(app: App, { database, teamKeys }: Pick<Services, 'database' | 'teamKeys'>): void {
  app.get(
    '/v1/redactions',
    {
      config: { policy: 'read' },
      schema: { summary: 'Names of the words that are never stored', response: { 200: listOf(RedactionView) } },
    },
    async (request) => {
      const { teamId } = principalOf(request);
      return { items: await database.inTeam(teamId, (tx) => redactions.listRedactions(tx, teamId)) };
    },
  );

  app.put(
    '/v1/redactions/:name',
    {
      config: { policy: 'administer' },
      schema: {
        summary: 'Keep a word, such as a password, out of what is stored',
        params: RedactionParams,
        body: RedactionWord,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { teamId } = principalOf(request);
      const { name } = request.params;
      const word = seal(await teamKeys.current(teamId), redactionAad(teamId, name), Buffer.from(request.body.word));
      await database.inTeam(teamId, (tx) => redactions.putRedaction(tx, teamId, name, word));
      return reply.code(204).send(null);
    },
  );

  app.delete(
    '/v1/redactions/:name',
    {
      config: { policy: 'administer' },
      schema: { summary: 'Forget such a word', params: RedactionParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const { teamId } = principalOf(request);
      await database.inTeam(teamId, (tx) => redactions.deleteRedaction(tx, teamId, request.params.name));
      return reply.code(204).send(null);
    },
  );
}
