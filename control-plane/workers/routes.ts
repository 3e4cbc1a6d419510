import { Type } from 'typebox';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { WorkerChange, WorkerCreate, WorkerView, WorkerWithToken } from '../../protocol/http/worker.ts';
import { assertMayChange, type Principal } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import type { Transaction } from '../database.ts';
import { principalOf } from '../http/guard.ts';
import * as workers from './repository.ts';

/** Workers and their tokens. */
export function registerWorkers(app: App, { database }: Services): void {
  /** Runs a change of one worker that the caller may change. */
  function change<T>(principal: Principal, name: string, work: (tx: Transaction, worker: workers.WorkerRow) => Promise<T>): Promise<T> {
    return database.inTeam(principal.teamId, async (tx) => {
      const worker = await workers.findWorker(tx, principal, name);
      assertMayChange(principal, worker.ownerId, `the worker ${worker.identity}`);
      return work(tx, worker);
    });
  }

  app.get(
    '/v1/workers',
    { config: { policy: 'read' }, schema: { summary: 'Workers of the team', response: { 200: listOf(WorkerView) } } },
    async (request) => {
      const principal = principalOf(request);
      return { items: await database.inTeam(principal.teamId, (tx) => workers.listWorkers(tx, principal)) };
    },
  );

  app.get(
    '/v1/workers/:name',
    { config: { policy: 'read' }, schema: { summary: 'A worker', params: ObjectParams, response: { 200: WorkerView } } },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, (tx) => workers.findWorker(tx, principal, request.params.name));
    },
  );

  app.post(
    '/v1/workers',
    {
      config: { policy: 'change' },
      schema: { summary: 'Make a worker; its token is shown only now', body: WorkerCreate, response: { 201: WorkerWithToken } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { identity, description = '' } = request.body;
      const worker = await database.inTeam(principal.teamId, async (tx) => {
        const { id, token } = await workers.createWorker(tx, principal, { identity, description });
        return { ...(await workers.findWorker(tx, principal, id)), token };
      });
      return reply.code(201).send(worker);
    },
  );

  app.patch(
    '/v1/workers/:name',
    {
      config: { policy: 'change' },
      schema: { summary: 'Change a worker', params: ObjectParams, body: WorkerChange, response: { 200: WorkerView } },
    },
    async (request) => {
      const principal = principalOf(request);
      return change(principal, request.params.name, async (tx, { id }) => {
        await workers.changeWorker(tx, principal.teamId, id, request.body);
        return workers.findWorker(tx, principal, id);
      });
    },
  );

  app.post(
    '/v1/workers/:name/token',
    {
      config: { policy: 'change' },
      schema: { summary: 'Give a worker another token', params: ObjectParams, response: { 200: WorkerWithToken } },
    },
    async (request) => {
      const principal = principalOf(request);
      return change(principal, request.params.name, async (tx, { id }) => {
        const token = await workers.rotateToken(tx, principal.teamId, id);
        return { ...(await workers.findWorker(tx, principal, id)), token };
      });
    },
  );

  app.delete(
    '/v1/workers/:name',
    { config: { policy: 'change' }, schema: { summary: 'Delete a worker', params: ObjectParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await change(principal, request.params.name, (tx, { id }) => workers.deleteWorker(tx, principal.teamId, id));
      return reply.code(204).send(null);
    },
  );
}
