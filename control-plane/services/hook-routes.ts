import { Type } from 'typebox';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import { HookChange, HookParams, HookSecret, HookSecretMade, HookView } from '../../protocol/http/gateway.ts';
import type { TeamKeys } from '../../runtime/sealing/index.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import * as hooks from './hooks.ts';
import { findService } from './repository.ts';
import type { Change } from './routes.ts';

/** Webhooks of services. */
export function registerHooks(app: App, { database }: Pick<Services, 'database'>, change: Change): void {
  app.get(
    '/v1/services/:name/hooks',
    { config: { policy: 'read' }, schema: { summary: 'Webhooks of a service', params: ObjectParams, response: { 200: listOf(HookView) } } },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, async (tx) => {
        const { id } = await findService(tx, principal, request.params.name);
        return { items: await hooks.listHooks(tx, principal.teamId, id) };
      });
    },
  );

  app.put(
    '/v1/services/:name/hooks/:hook',
    {
      config: { policy: 'change' },
      schema: {
        summary: 'Make or change a webhook',
        params: HookParams,
        body: HookChange,
        response: { 200: HookView, 201: HookView },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { name, hook } = request.params;
      const [isNew, view] = await change(principal, name, async (tx, { id }) => {
        const made = await hooks.putHook(tx, principal.teamId, id, hook, request.body as HookChange);
        return [made, await hooks.findHook(tx, principal.teamId, id, hook)] as const;
      });
      return reply.code(isNew ? 201 : 200).send(view);
    },
  );

  app.delete(
    '/v1/services/:name/hooks/:hook',
    { config: { policy: 'change' }, schema: { summary: 'Delete a webhook', params: HookParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      const { name, hook } = request.params;
      await change(principal, name, (tx, { id }) => hooks.deleteHook(tx, principal.teamId, id, hook));
      return reply.code(204).send(null);
    },
  );
}

/** The secrets that senders of webhooks sign with. */
export function registerHookSecrets(app: App, teamKeys: TeamKeys, change: Change): void {
  app.post(
    '/v1/services/:name/hooks/:hook/secret',
    {
      config: { policy: 'change' },
      schema: {
        summary: 'Give a webhook another secret; one that is made here is shown only now',
        params: HookParams,
        body: HookSecret,
        response: { 200: HookSecretMade },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const { secret: given, keepPreviousMinutes } = request.body;
      const secret = given ?? hooks.createSecret();
      return change(principal, request.params.name, async (tx, { id }) => {
        const hook = await hooks.findHook(tx, principal.teamId, id, request.params.hook);
        await hooks.replaceSecret(tx, teamKeys, principal.teamId, hook.id, { secret, keepPreviousMinutes });
        return { hook: hook.name, secret: given === undefined ? secret : null };
      });
    },
  );
}
