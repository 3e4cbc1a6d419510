import { OBJECTS, type ObjectName, type Operation, type Settings } from '../../../protocol/configuration/operations.ts';
import type { TokenWithSecret } from '../../../protocol/http/token.ts';
import type { TriggerView } from '../../../protocol/http/trigger.ts';
import type { WorkerWithToken } from '../../../protocol/http/worker.ts';
import type { Call } from '../command.ts';
import { type Answer, text } from '../screen/answer.ts';

type Method = 'POST' | 'PATCH' | 'DELETE';

/** Property that names an object in the API's bodies. */
const NAME_FIELDS: Readonly<Record<ObjectName, string>> = {
  teams: 'name',
  users: 'identity',
  invites: 'email',
  tokens: 'name',
  directories: 'path',
  workers: 'identity',
  services: 'name',
  triggers: 'path',
};

/** Carries out an operation by the API's own route for it. */
export async function applyDirectly(call: Call, operation: Operation): Promise<Answer | null> {
  const { object } = operation;
  const send = <T>(method: Method, path: string, body?: unknown): Promise<T> =>
    call.connection.call<T>({ method, path, ...(body === undefined ? {} : { body }) });
  const path = `/v1/${object}/${encodeURIComponent(operation.name)}`;
  switch (operation.verb) {
    case 'create':
      return created(call, object, await send('POST', `/v1/${object}`, createBody(object, operation.name, operation.settings)));
    case 'change':
      await send('PATCH', path, operation.settings);
      return null;
    case 'rename':
      await send('PATCH', path, { [NAME_FIELDS[object]]: operation.to });
      return null;
    case 'delete':
      await send('DELETE', path);
      return null;
    case 'argument': {
      const { args } = await call.connection.call<TriggerView>({ method: 'GET', path });
      const { [operation.key]: _, ...others } = args;
      await send('PATCH', path, { args: operation.value === null ? others : { ...others, [operation.key]: operation.value } });
      return null;
    }
    default:
      if (operation.list === 'service') await send('PATCH', path, { service: operation.verb === 'attach' ? operation.item : null });
      else if (operation.verb === 'attach') {
        await send('POST', `${path}/${operation.list}`, { [operation.list.replace(/s$/, '')]: operation.item });
      } else await send('DELETE', `${path}/${operation.list}/${encodeURIComponent(operation.item)}`);
      return null;
  }
}

function createBody(object: ObjectName, name: string, settings: Settings): Readonly<Record<string, unknown>> {
  return { [NAME_FIELDS[object]]: name, ...settings };
}

/** Secrets are shown once, with where they belong. */
async function created(call: Call, object: ObjectName, made: unknown): Promise<Answer | null> {
  if (object === 'workers') {
    const worker = made as WorkerWithToken;
    const { team } = await call.connection.login();
    return text(workerToken(team, worker.identity, worker.token), worker);
  }
  if (object === 'tokens') {
    const { token } = made as TokenWithSecret;
    return text([`Token: ${token}`, `It is shown only now. The ${OBJECTS.tokens.singular} acts for you within its scopes.`], made);
  }
  return null;
}

/** A worker's new token with the section of triggerfs.toml that holds it. */
export function workerToken(team: string, identity: string, token: string): string[] {
  return [
    `Token: ${token}`,
    'It is shown only now. Put it into the triggerfs.toml of the machine that the worker runs on:',
    '',
    `[workers.${team}.${identity}]`,
    `token = "${token}"`,
    '',
  ];
}
