import { Type } from 'typebox';
import { listOf } from '../../protocol/http/common.ts';
import { MaintenanceCreate, MaintenanceParams, MaintenanceView } from '../../protocol/http/maintenance.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { announceMaintenance, cancelMaintenance, listMaintenances } from './repository.ts';

/** Maintenance of the installation. */
export function registerMaintenance(app: App, { database, log }: Services): void {
  app.get(
    '/v1/maintenance',
    { config: { policy: 'session' }, schema: { summary: 'Announced maintenance', response: { 200: listOf(MaintenanceView) } } },
    async () => ({ items: await database.fleet((tx) => listMaintenances(tx)) }),
  );

  app.post(
    '/v1/maintenance',
    {
      config: { policy: 'operate' },
      schema: {
        summary: 'Announce maintenance to all teams; brokers drain when it begins',
        body: MaintenanceCreate,
        response: { 201: MaintenanceView },
      },
    },
    async (request, reply) => {
      const { id, identity } = principalOf(request);
      const made = await database.fleet((tx) => announceMaintenance(tx, id, request.body));
      log.info(`${identity} announced maintenance at ${made.startsAt}: ${made.reason}`);
      return reply.code(201).send(made);
    },
  );

  app.delete(
    '/v1/maintenance/:id',
    {
      config: { policy: 'operate' },
      schema: { summary: 'Take back maintenance that has not begun', params: MaintenanceParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      await database.fleet((tx) => cancelMaintenance(tx, Number(request.params.id)));
      return reply.code(204).send(null);
    },
  );
}
