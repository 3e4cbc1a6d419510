import type { Static } from 'typebox';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { HookSecretMade, HookView } from '../../../protocol/http/gateway.ts';
import type { ServiceView } from '../../../protocol/http/service.ts';
import { parseDuration } from '../../../protocol/quantity.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, table, text } from '../screen/answer.ts';

const MINUTE_MS = 60_000;

const HOOKS: readonly Column<HookView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'name', of: ({ name }) => name },
  { title: 'service', of: ({ service }) => service },
  { title: 'scheme', of: ({ scheme }) => scheme },
  { title: 'plugin', of: ({ plugin }) => plugin ?? '' },
  { title: 'mode', of: ({ mode }) => mode },
  { title: 'path', of: ({ path }) => path },
  { title: 'secrets', of: ({ secrets }) => secrets },
];

const KEEP = { keep: { value: 'duration', doc: 'How long the secret before stays good, so that the sender can be changed' } } as const;

/** Commands about webhooks, beside those that make and change them. */
export const HOOK_COMMANDS: readonly Command[] = [
  { pattern: 'show hooks|hook', doc: 'Webhooks of the services', modes: EVERYWHERE, run: showHooks },
  {
    pattern: 'request service <service> hook <hook> secret',
    doc: 'Make another secret for a webhook',
    options: KEEP,
    modes: EVERYWHERE,
    run: (call) => replaceSecret(call, {}),
  },
  {
    pattern: 'request service <service> hook <hook> secret own',
    doc: 'Give a webhook the secret of its sender; asks for it',
    options: KEEP,
    modes: EVERYWHERE,
    run: async (call) => replaceSecret(call, { secret: await call.screen.ask('Secret: ', true) }),
  },
];

async function showHooks(call: Call): Promise<Answer> {
  const hooks: HookView[] = [];
  const services = await call.connection.list<ServiceView>('/v1/services', call.signal);
  for (const { name } of services.filter((service) => service.hooks.length > 0))
    hooks.push(...(await call.connection.list<HookView>(`${pathOf(name)}/hooks`, call.signal)));
  return table(HOOKS, hooks);
}

async function replaceSecret(call: Call, given: { readonly secret?: string }): Promise<Answer> {
  const keep = call.options.keep?.at(-1);
  const body = keep === undefined ? given : { ...given, keepPreviousMinutes: minutesOf(keep) };
  const { service = '', hook = '' } = call.values;
  const path = `${pathOf(service)}/hooks/${encodeURIComponent(hook)}/secret`;
  const made = await call.connection.call<Static<typeof HookSecretMade>>({ method: 'POST', path, body });
  if (made.secret === null) return text([`The webhook ${made.hook} has the secret now.`], made);
  return text([`Secret: ${made.secret}`, 'It is shown only now. Give it to the sender of the webhook.'], made);
}

function minutesOf(duration: string): number {
  const ms = parseDuration(duration);
  if (ms !== null) return Math.ceil(ms / MINUTE_MS);
  throw new TriggerFsError('TFS_USAGE', `keep takes a duration such as 1h, not ${duration}`);
}

function pathOf(service: string): string {
  return `/v1/services/${encodeURIComponent(service)}`;
}
