import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { ServiceChange, ServiceCreate, ServiceMember, ServicePlugin, ServiceView, ServiceWorker } from '../../protocol/http/service.ts';
import { assertMayChange, type Principal } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import type { Transaction } from '../database.ts';
import { principalOf } from '../http/guard.ts';
import { findWorker } from '../workers/repository.ts';
import { registerHookSecrets, registerHooks } from './hook-routes.ts';
import * as services from './repository.ts';

const MemberParams = Type.Object({ ...ObjectParams.properties, worker: Type.String({ minLength: 1, maxLength: 64 }) });
const PluginParams = Type.Object({ ...ObjectParams.properties, plugin: Type.String({ minLength: 1, maxLength: 128 }) });

/** Runs a change of one service that the caller may change. */
export type Change = <T>(
  principal: Principal,
  name: string,
  work: (tx: Transaction, service: services.ServiceRow) => Promise<T>,
) => Promise<T>;

/** Services, the workers behind them and the plugins they allow. */
export function registerServices(app: App, { database, teamKeys }: Services): void {
  const change: Change = (principal, name, work) =>
    database.inTeam(principal.teamId, async (tx) => {
      const service = await services.findService(tx, principal, name);
      assertMayChange(principal, service.ownerId, `the service ${service.name}`);
      return work(tx, service);
    });

  app.get(
    '/v1/services',
    { config: { policy: 'read' }, schema: { summary: 'Services that the caller sees', response: { 200: listOf(ServiceView) } } },
    async (request) => {
      const principal = principalOf(request);
      return { items: await database.inTeam(principal.teamId, (tx) => services.listServices(tx, principal)) };
    },
  );

  app.get(
    '/v1/services/:name',
    { config: { policy: 'read' }, schema: { summary: 'A service', params: ObjectParams, response: { 200: ServiceView } } },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, (tx) => services.findService(tx, principal, request.params.name));
    },
  );

  app.post(
    '/v1/services',
    { config: { policy: 'change' }, schema: { summary: 'Make a service', body: ServiceCreate, response: { 201: ServiceView } } },
    async (request, reply) => {
      const principal = principalOf(request);
      const { name, ...settings } = request.body;
      const service = await database.inTeam(principal.teamId, async (tx) => {
        const id = await services.createService(tx, principal, name);
        await services.changeService(tx, principal.teamId, id, settings);
        return services.findService(tx, principal, id);
      });
      return reply.code(201).send(service);
    },
  );

  app.patch(
    '/v1/services/:name',
    {
      config: { policy: 'change' },
      schema: { summary: 'Change a service', params: ObjectParams, body: ServiceChange, response: { 200: ServiceView } },
    },
    async (request) => {
      const principal = principalOf(request);
      return change(principal, request.params.name, async (tx, service) => {
        // What is made local belongs to its owner alone, so only the owner hides it: nobody else could undo that.
        if (request.body.visibility === 'local' && service.ownerId !== principal.id) {
          throw new TriggerFsError('TFS_FORBIDDEN', 'only its owner makes a service local');
        }
        await services.changeService(tx, principal.teamId, service.id, request.body);
        return services.findService(tx, principal, service.id);
      });
    },
  );

  app.delete(
    '/v1/services/:name',
    { config: { policy: 'change' }, schema: { summary: 'Delete a service', params: ObjectParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await change(principal, request.params.name, (tx, { id }) => services.deleteService(tx, principal.teamId, id));
      return reply.code(204).send(null);
    },
  );

  registerMembers(app, database.inTeam.bind(database), change);
  registerPlugins(app, change);
  registerHooks(app, { database }, change);
  registerHookSecrets(app, teamKeys, change);
}

function registerMembers(app: App, inTeam: Services['database']['inTeam'], change: Change): void {
  app.get(
    '/v1/services/:name/workers',
    {
      config: { policy: 'read' },
      schema: { summary: 'Workers of a service in attach order', params: ObjectParams, response: { 200: listOf(ServiceMember) } },
    },
    async (request) => {
      const principal = principalOf(request);
      return inTeam(principal.teamId, async (tx) => {
        const { id } = await services.findService(tx, principal, request.params.name);
        return { items: await services.listServiceWorkers(tx, principal.teamId, id) };
      });
    },
  );

  app.post(
    '/v1/services/:name/workers',
    {
      config: { policy: 'change' },
      schema: { summary: 'Attach a worker as the last one', params: ObjectParams, body: ServiceWorker, response: { 201: ServiceView } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const service = await change(principal, request.params.name, async (tx, { id }) => {
        const worker = await findWorker(tx, principal, request.body.worker);
        await services.attachWorker(tx, principal.teamId, id, worker.id);
        return services.findService(tx, principal, id);
      });
      return reply.code(201).send(service);
    },
  );

  app.delete(
    '/v1/services/:name/workers/:worker',
    { config: { policy: 'change' }, schema: { summary: 'Detach a worker', params: MemberParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await change(principal, request.params.name, async (tx, service) => {
        const worker = await findWorker(tx, principal, request.params.worker);
        if (await services.detachWorker(tx, principal.teamId, service.id, worker.id)) return;
        throw new TriggerFsError('TFS_NOT_FOUND', `the worker ${worker.identity} is not attached to ${service.name}`);
      });
      return reply.code(204).send(null);
    },
  );
}

function registerPlugins(app: App, change: Change): void {
  app.post(
    '/v1/services/:name/plugins',
    {
      config: { policy: 'change' },
      schema: { summary: 'Allow a plugin', params: ObjectParams, body: ServicePlugin, response: { 201: ServiceView } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { plugin } = request.body;
      const changed = await change(principal, request.params.name, async (tx, service) => {
        const plugins = service.plugins ?? [];
        if (plugins.includes(plugin)) throw new TriggerFsError('TFS_CONFLICT', `the plugin ${plugin} is allowed already`);
        await services.changeService(tx, principal.teamId, service.id, { plugins: [...plugins, plugin] });
        return services.findService(tx, principal, service.id);
      });
      return reply.code(201).send(changed);
    },
  );

  app.delete(
    '/v1/services/:name/plugins/:plugin',
    {
      config: { policy: 'change' },
      schema: { summary: 'Allow a plugin no longer', params: PluginParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { plugin } = request.params;
      await change(principal, request.params.name, async (tx, service) => {
        if (!service.plugins?.includes(plugin)) throw new TriggerFsError('TFS_NOT_FOUND', `the service does not list the plugin ${plugin}`);
        // An empty list allows nothing; PATCH with null allows everything again.
        const plugins = service.plugins.filter((name) => name !== plugin);
        await services.changeService(tx, principal.teamId, service.id, { plugins });
      });
      return reply.code(204).send(null);
    },
  );
}
