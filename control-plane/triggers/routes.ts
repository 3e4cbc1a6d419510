import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { TriggerChange, TriggerCreate, TriggerView } from '../../protocol/http/trigger.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { assertMayChange } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import { assertPath } from '../directories/repository.ts';
import { principalOf } from '../http/guard.ts';
import * as triggers from './repository.ts';

/** Trigger files and their rules. */
export function registerTriggers(app: App, { database }: Services): void {
  app.get(
    '/v1/triggers',
    { config: { policy: 'read' }, schema: { summary: 'Triggers that the caller sees', response: { 200: listOf(TriggerView) } } },
    async (request) => {
      const principal = principalOf(request);
      return { items: await database.inTeam(principal.teamId, (tx) => triggers.listTriggers(tx, principal)) };
    },
  );

  app.get(
    '/v1/triggers/:name',
    { config: { policy: 'read' }, schema: { summary: 'A trigger', params: ObjectParams, response: { 200: TriggerView } } },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, (tx) => triggers.findTrigger(tx, principal, request.params.name));
    },
  );

  app.post(
    '/v1/triggers',
    { config: { policy: 'change' }, schema: { summary: 'Make a trigger', body: TriggerCreate, response: { 201: TriggerView } } },
    async (request, reply) => {
      const principal = principalOf(request);
      const { path, ...rule } = request.body;
      assertPath(path);
      assertArgs(rule.args);
      const trigger = await database.inTeam(principal.teamId, async (tx) => {
        const id = await triggers.createTrigger(tx, principal, path);
        await triggers.changeTrigger(tx, principal, id, rule);
        return triggers.findTrigger(tx, principal, id);
      });
      return reply.code(201).send(trigger);
    },
  );

  app.patch(
    '/v1/triggers/:name',
    {
      config: { policy: 'change' },
      schema: { summary: 'Change or move a trigger', params: ObjectParams, body: TriggerChange, response: { 200: TriggerView } },
    },
    async (request) => {
      const principal = principalOf(request);
      const { path, args, visibility } = request.body;
      if (path !== undefined) assertPath(path);
      assertArgs(args);
      return database.inTeam(principal.teamId, async (tx) => {
        const trigger = await triggers.findTrigger(tx, principal, request.params.name);
        assertMayChange(principal, trigger.ownerId, `the trigger ${trigger.path}`);
        if (visibility === 'local' && trigger.ownerId !== principal.id) {
          throw new TriggerFsError('TFS_FORBIDDEN', 'only its owner makes a trigger local');
        }
        await triggers.changeTrigger(tx, principal, trigger.id, request.body);
        return triggers.findTrigger(tx, principal, trigger.id);
      });
    },
  );

  app.delete(
    '/v1/triggers/:name',
    { config: { policy: 'change' }, schema: { summary: 'Delete a trigger', params: ObjectParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.inTeam(principal.teamId, async (tx) => {
        const trigger = await triggers.findTrigger(tx, principal, request.params.name);
        assertMayChange(principal, trigger.ownerId, `the trigger ${trigger.path}`);
        await triggers.deleteTrigger(tx, principal.teamId, trigger.id);
      });
      return reply.code(204).send(null);
    },
  );
}

/** Arguments travel together, so their size is limited together. */
function assertArgs(args: Readonly<Record<string, string>> | undefined): void {
  const bytes = args === undefined ? 0 : Buffer.byteLength(JSON.stringify(args));
  if (bytes > LIMITS.argsBytes)
    throw new TriggerFsError('TFS_TOO_LARGE', `the arguments have ${bytes} bytes, more than ${LIMITS.argsBytes}`);
}
