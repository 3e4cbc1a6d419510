import { setTimeout as sleep } from 'node:timers/promises';
import { TriggerFsError } from '../../protocol/errors.ts';
import {
  CallbackSecret,
  IdempotencyHeaders,
  QUEUE_BODY_BYTES,
  QueueAccepted,
  QueueList,
  QueueParams,
  QueueQuery,
  QueueRedrive,
  QueueRedriven,
  QueueRequest,
  type QueueResult,
  QueueView,
} from '../../protocol/http/queue.ts';
import { answerAad } from '../../runtime/acceptance/new-item.ts';
import { open } from '../../runtime/sealing/index.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import type { Transaction } from '../database.ts';
import { principalOf } from '../http/guard.ts';
import { readCallbackSecret, replaceCallbackSecret } from './callback-secret.ts';
import * as items from './repository.ts';
import { readQueueRequest } from './request.ts';

const PAGE = 50;
/** A running item ends when its worker has killed it; an answer need not wait for all of that. */
const CANCEL_WAIT_MS = 2_000;

/** Invocations that are accepted for later. */
export function registerQueue(app: App, services: Services): void {
  registerAccept(app, services);
  registerItems(app, services);
  registerRedrive(app, services);
  registerSecret(app, services);
}

function registerAccept(app: App, services: Services): void {
  const { database, queue } = services;
  app.post(
    '/v1/invocations',
    {
      config: { policy: 'invoke' },
      bodyLimit: QUEUE_BODY_BYTES,
      schema: {
        summary: 'Accept an invocation: it runs as soon as it can, whatever dies in between',
        headers: IdempotencyHeaders,
        body: QueueRequest,
        response: { 200: QueueAccepted, 202: QueueAccepted },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const item = readQueueRequest(request.body, principal, request.headers['idempotency-key']);
      await database.inTeam(principal.teamId, (tx) => items.assertCallable(tx, principal, item));
      const { id, existing } = await queue.acceptor.accept(item);
      if (!existing) queue.metrics.accepted.inc();
      reply.header('location', `/v1/invocations/${id}`);
      if (!existing) return reply.code(202).send({ id, state: 'queued', existing, result: null });
      const found = await database.inTeam(principal.teamId, (tx) => items.findItem(tx, principal, id));
      const result = await openResult(services, principal, found);
      return reply.code(result === null ? 202 : 200).send({ id, state: found.state, existing, result });
    },
  );
}

function registerItems(app: App, services: Services): void {
  const { database } = services;
  app.get(
    '/v1/queue',
    { config: { policy: 'read' }, schema: { summary: 'Invocations in the queue', querystring: QueueQuery, response: { 200: QueueList } } },
    async (request) => {
      const principal = principalOf(request);
      const { limit, ...filter } = request.query;
      return database.inTeam(principal.teamId, (tx) =>
        items.listItems(tx, principal, { ...filter, limit: limit === undefined ? PAGE : Number(limit) }),
      );
    },
  );

  app.get(
    '/v1/invocations/:id',
    {
      config: { policy: 'read' },
      schema: { summary: 'An accepted invocation and its attempts', params: QueueParams, response: { 200: QueueView } },
    },
    async (request) => view(services, principalOf(request), request.params.id),
  );

  app.delete(
    '/v1/invocations/:id',
    {
      config: { policy: 'invoke' },
      schema: { summary: 'Cancel an accepted invocation', params: QueueParams, response: { 200: QueueView, 202: QueueView } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const state = await database.inTeam(principal.teamId, async (tx) => {
        await assertOwn(tx, principal, id);
        return items.cancelItem(tx, principal.teamId, id);
      });
      if (state !== 'cancelled' && state !== 'running') {
        throw new TriggerFsError('TFS_CONFLICT', `the invocation ${id} has ended already: it is ${state}`);
      }
      services.queue.cancel(id);
      for (const end = performance.now() + CANCEL_WAIT_MS; ; await sleep(50)) {
        const now = await view(services, principal, id);
        if (now.state !== 'running') return reply.code(200).send(now);
        if (performance.now() > end) return reply.code(202).send(now);
      }
    },
  );
}

function registerRedrive(app: App, services: Services): void {
  const { database, queue } = services;
  app.post(
    '/v1/invocations/:id/redrive',
    {
      config: { policy: 'invoke' },
      schema: {
        summary: 'Put a dead, expired or cancelled invocation back into the queue',
        params: QueueParams,
        response: { 202: QueueView },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      await database.inTeam(principal.teamId, async (tx) => {
        const item = await assertOwn(tx, principal, id);
        if ((await items.redriveItems(tx, principal.teamId, [id])) > 0) return;
        throw new TriggerFsError('TFS_CONFLICT', `the invocation ${id} is ${item.state}: only dead, expired and cancelled ones go back`);
      });
      queue.nudge();
      return reply.code(202).send(await view(services, principal, id));
    },
  );

  app.post(
    '/v1/queue/redrive',
    {
      config: { policy: 'invoke' },
      schema: { summary: 'Put all dead letters of a service back into the queue', body: QueueRedrive, response: { 202: QueueRedriven } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { service, state = 'dead' } = request.body;
      const redriven = await database.inTeam(principal.teamId, async (tx) =>
        items.redriveItems(tx, principal.teamId, await items.itemsOf(tx, principal, service, state)),
      );
      queue.nudge();
      return reply.code(202).send({ redriven });
    },
  );
}

function registerSecret(app: App, { database, teamKeys }: Services): void {
  app.get(
    '/v1/queue/secret',
    {
      config: { policy: 'administer' },
      schema: { summary: 'The secret that callbacks of the team are signed with', response: { 200: CallbackSecret } },
    },
    async (request) => {
      const { teamId } = principalOf(request);
      const secret = await database.inTeam(teamId, (tx) => readCallbackSecret(tx, teamKeys, teamId));
      return { secret: secret.toString('hex') };
    },
  );

  app.post(
    '/v1/queue/secret',
    {
      config: { policy: 'administer' },
      schema: { summary: 'Replace the secret that callbacks are signed with', response: { 201: CallbackSecret } },
    },
    async (request, reply) => {
      const { teamId } = principalOf(request);
      const secret = await database.inTeam(teamId, (tx) => replaceCallbackSecret(tx, teamKeys, teamId));
      return reply.code(201).send({ secret: secret.toString('hex') });
    },
  );
}

/** Members cancel and redrive what they asked for themselves. @throws TriggerFsError TFS_NOT_FOUND, TFS_FORBIDDEN */
async function assertOwn(tx: Transaction, principal: Principal, id: string): Promise<items.ItemRow> {
  const item = await items.findItem(tx, principal, id);
  if (isAdmin(principal) || item.caller.toLowerCase() === principal.identity.toLowerCase()) return item;
  throw new TriggerFsError('TFS_FORBIDDEN', `the invocation ${id} is another one's; members change only their own`);
}

async function view(services: Services, principal: Principal, id: string): Promise<QueueView> {
  const { item, attempts } = await services.database.inTeam(principal.teamId, async (tx) => ({
    item: await items.findItem(tx, principal, id),
    attempts: await items.listAttempts(tx, principal.teamId, id),
  }));
  const { answer: _answer, ...shown } = item;
  return { ...shown, attempts, result: await openResult(services, principal, item) };
}

/** The result of an item that has ended. */
async function openResult({ teamKeys }: Services, { teamId }: Principal, item: items.ItemRow): Promise<QueueResult | null> {
  if (item.answer === null || item.endedAt === null) return null;
  return JSON.parse((await open(teamKeys, teamId, answerAad(teamId, item.id), item.answer)).toString('utf8')) as QueueResult;
}
