import type { ObjectName, Operation, Settings } from '../../../protocol/configuration/operations.ts';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { InviteView } from '../../../protocol/http/invite.ts';
import type { TokenWithSecret } from '../../../protocol/http/token.ts';
import type { Call } from '../command.ts';
import { type Answer, text } from '../screen/answer.ts';

/** Carries out what is no part of the configuration by the API's own route for it. */
export async function applyDirectly(call: Call, operation: Operation): Promise<Answer | null> {
  const { verb, object, name } = operation;
  if (verb === 'create')
    return created(object, name, await send(call, 'POST', `/v1/${object}`, createBody(object, name, operation.settings)));
  const path = `/v1/${object}/${encodeURIComponent(object === 'invites' ? await inviteId(call, name) : name)}`;
  if (verb === 'change') await send(call, 'PATCH', path, operation.settings);
  else if (verb === 'delete' && object === 'teams') return deleteTeam(call, name, path);
  else if (verb === 'delete') await send(call, 'DELETE', path);
  else throw new TriggerFsError('TFS_USAGE', `${object} cannot ${verb}`);
  return null;
}

function send<T>(call: Call, method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T> {
  return call.connection.call<T>({ method, path, ...(body === undefined ? {} : { body }) });
}

function createBody(object: ObjectName, name: string, settings: Settings): Readonly<Record<string, unknown>> {
  if (object === 'invites') return { [name.includes('@') ? 'email' : 'identity']: name, ...settings };
  return { name, ...settings };
}

/** Secrets are shown once. */
function created(object: ObjectName, name: string, made: unknown): Answer | null {
  if (object === 'tokens') {
    const { token } = made as TokenWithSecret;
    return text([`Token: ${token}`, 'It is shown only now, and acts for you within its scopes.'], made);
  }
  if (object === 'teams') return text([`You own the team ${name} now. To work in it, enter: request team switch ${name}`], made);
  return object === 'invites' ? text([`${name} is invited.`], made) : null;
}

/** Everything in it goes with it, so a person is asked; the console goes on without a team. */
async function deleteTeam(call: Call, name: string, path: string): Promise<Answer | null> {
  const { screen, shell, connection } = call;
  if (screen.interactive && (await screen.ask(`The team goes with everything in it. Type its name to delete it: `, false)) !== name) {
    return text(['Nothing was deleted.']);
  }
  // Afterwards the session of that team has ended, and nothing can be asked with it.
  const account = await connection.inTeam('');
  try {
    await send(call, 'DELETE', path);
  } catch (error) {
    await account.stop();
    throw error;
  }
  await shell.connect(account);
  return text([`The team ${name} is deleted.`]);
}

/** An invitation is named by its id, or by whom it invites. */
async function inviteId(call: Call, name: string): Promise<string> {
  const invites = await call.connection.list<InviteView>('/v1/invites');
  const found = invites.find(({ id, email, identity }) => [String(id), email, identity].includes(name));
  if (found === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `nobody is invited as ${name}`);
  return String(found.id);
}
