import { TriggerFsError } from '../../protocol/errors.ts';
import {
  HistoryInvocation,
  HistoryPage,
  HistoryQuery,
  InvocationParams,
  ReplayAnswer,
  StatisticsAnswer,
  StatisticsQuery,
} from '../../protocol/http/history.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { registerOutput } from './output-routes.ts';
import { findQueued, queueOf } from './queued.ts';
import { replayOf } from './replay.ts';
import { findInvocation, hasOutput, listHistory, listRuns, noInvocation } from './repository.ts';
import { listStatistics } from './statistics.ts';

/** What ran, what it said, and how often. */
export function registerHistory(app: App, services: Services): void {
  const { database, queue, teamKeys } = services;
  app.get(
    '/v1/history',
    {
      config: { policy: 'read' },
      schema: { summary: 'Invocations, newest first', querystring: HistoryQuery, response: { 200: HistoryPage } },
    },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, (tx) => listHistory(tx, principal, request.query));
    },
  );

  app.get(
    '/v1/history/:id',
    {
      config: { policy: 'read' },
      schema: { summary: 'An invocation with its runs', params: InvocationParams, response: { 200: HistoryInvocation } },
    },
    async (request): Promise<HistoryInvocation> => {
      const principal = principalOf(request);
      const id = request.params.id.toLowerCase();
      return database.inTeam(principal.teamId, async (tx) => {
        const invocation = await findInvocation(tx, principal, id);
        if (invocation === undefined) {
          const queued = await findQueued(tx, principal, id);
          if (queued === undefined) throw noInvocation(id);
          const none = { deadlineAt: null, expected: null, payloadBytes: null, replayable: false, outputKept: false, runs: [] };
          return { ...queued, ...none, queue: await queueOf(tx, principal.teamId, id, id) };
        }
        const place = { teamId: principal.teamId, id, day: invocation.day };
        return {
          ...invocation,
          outputKept: await hasOutput(tx, place),
          queue: invocation.itemId === null ? null : await queueOf(tx, principal.teamId, invocation.itemId, id),
          runs: await listRuns(tx, place),
        };
      });
    },
  );

  app.get(
    '/v1/statistics',
    {
      config: { policy: 'read' },
      schema: { summary: 'Invocations by service and hour', querystring: StatisticsQuery, response: { 200: StatisticsAnswer } },
    },
    async (request) => {
      const principal = principalOf(request);
      return { items: await database.inTeam(principal.teamId, (tx) => listStatistics(tx, principal, request.query)) };
    },
  );

  app.post(
    '/v1/history/:id/replay',
    {
      config: { policy: 'invoke' },
      schema: { summary: 'Accept the request of an invocation once more', params: InvocationParams, response: { 202: ReplayAnswer } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      // It tells what the history knows, so the right to invoke alone is not enough.
      if (principal.scopes?.includes('read') === false) throw new TriggerFsError('TFS_FORBIDDEN', 'the API token lacks the scope read');
      const item = await database.inTeam(principal.teamId, (tx) => replayOf(tx, teamKeys, principal, request.params.id.toLowerCase()));
      const { id } = await queue.acceptor.accept(item);
      queue.metrics.accepted.inc();
      return reply.code(202).header('location', `/v1/invocations/${id}`).send({ id });
    },
  );

  registerOutput(app, services);
}
