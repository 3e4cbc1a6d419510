import type { BrokerView } from '../../../protocol/http/broker.ts';
import type { DirectoryView } from '../../../protocol/http/directory.ts';
import type { ServiceView } from '../../../protocol/http/service.ts';
import type { TokenView } from '../../../protocol/http/token.ts';
import type { TriggerView } from '../../../protocol/http/trigger.ts';
import type { UserView } from '../../../protocol/http/user.ts';
import type { WorkerView } from '../../../protocol/http/worker.ts';
import { formatDuration } from '../../../protocol/quantity.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';
import { recordLines } from '../screen/record-lines.ts';

interface Origin {
  readonly owner: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

const OWNER: Column<Pick<Origin, 'owner'>> = { title: 'owner', of: ({ owner }) => owner ?? '' };
const CREATED: Column<Pick<Origin, 'createdAt'>> = { title: 'created', of: ({ createdAt }) => shownTime(createdAt) };
const UPDATED: Column<Pick<Origin, 'updatedAt'>> = { title: 'updated', of: ({ updatedAt }) => shownTime(updatedAt) };
const ID: Column<{ readonly id: number }> = { title: 'id', of: ({ id }) => id };
const NAME: Column<{ readonly name: string }> = { title: 'name', of: ({ name }) => name };
const DESCRIPTION: Column<{ readonly description: string }> = { title: 'description', of: ({ description }) => description };
const VISIBILITY: Column<{ readonly visibility: string }> = { title: 'visibility', of: ({ visibility }) => visibility };

const WORKERS: readonly Column<WorkerView>[] = [
  ID,
  { title: 'identity', of: ({ identity }) => identity },
  DESCRIPTION,
  { title: 'state', of: ({ state }) => state },
  // Only a hash of it is kept; it is shown when it is made.
  { title: 'token', of: () => '(hidden)' },
  OWNER,
  CREATED,
  UPDATED,
];

const SERVICES: readonly Column<ServiceView>[] = [
  ID,
  NAME,
  DESCRIPTION,
  { title: 'timeout', of: ({ timeoutMs }) => formatDuration(timeoutMs) },
  { title: 'algorithm', of: ({ algorithm }) => algorithm },
  { title: 'triggers', of: ({ triggers }) => triggers.join(', ') },
  { title: 'workers', of: ({ workers }) => workers.join(', ') },
  VISIBILITY,
  OWNER,
  CREATED,
  UPDATED,
];

const TRIGGERS: readonly Column<TriggerView>[] = [
  ID,
  NAME,
  DESCRIPTION,
  { title: 'plugin', of: ({ plugin }) => plugin ?? '' },
  { title: 'hits', of: ({ hits }) => hits },
  OWNER,
  VISIBILITY,
  CREATED,
  UPDATED,
];

const DIRECTORIES: readonly Column<DirectoryView>[] = [
  ID,
  { title: 'path', of: ({ path }) => path },
  { title: 'mode', of: ({ mode }) => mode.toString(8).padStart(4, '0') },
  OWNER,
  CREATED,
  UPDATED,
];

const USERS: readonly Column<UserView>[] = [
  ID,
  { title: 'identity', of: ({ identity }) => identity },
  { title: 'email', of: ({ email }) => email ?? '' },
  { title: 'role', of: ({ role }) => role },
  { title: 'joined', of: ({ createdAt }) => shownTime(createdAt) },
];

const TEAMS: readonly Column<{ id: number; name: string; role: string }>[] = [ID, NAME, { title: 'role', of: ({ role }) => role }];

const TOKENS: readonly Column<TokenView>[] = [
  ID,
  NAME,
  { title: 'scopes', of: ({ scopes }) => scopes.join(', ') },
  OWNER,
  { title: 'expires', of: ({ expiresAt }) => (expiresAt === null ? 'never' : shownTime(expiresAt)) },
  CREATED,
];

const BROKERS: readonly Column<BrokerView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'endpoint', of: ({ endpoint }) => endpoint },
  { title: 'gateway', of: ({ gatewayUrl }) => gatewayUrl ?? '' },
  { title: 'region', of: ({ region }) => region },
  { title: 'state', of: ({ state }) => state },
  { title: 'started', of: ({ startedAt }) => shownTime(startedAt) },
];

/** Commands that show what there is. */
export const SHOW: readonly Command[] = [
  list('show workers|worker', 'Workers and whether they are online', '/v1/workers', WORKERS),
  single('show workers|worker <worker>', 'Everything about a worker', '/v1/workers', 'worker'),
  list('show services|service', 'Services and the workers behind them', '/v1/services', SERVICES),
  single('show services|service <service>', 'Everything about a service', '/v1/services', 'service'),
  list('show triggers|trigger', 'Trigger files and how often they were hit', '/v1/triggers', TRIGGERS),
  single('show triggers|trigger <trigger>', 'Everything about a trigger', '/v1/triggers', 'trigger'),
  list('show directories|directory', 'Directories of the file tree', '/v1/directories', DIRECTORIES),
  list('show users|user', 'Members of the team', '/v1/users', USERS),
  single('show users|user <user>', 'A member of the team', '/v1/users', 'user'),
  list('show teams|team', 'Your teams', '/v1/teams', TEAMS),
  list('show tokens|token', 'Your API tokens', '/v1/tokens', TOKENS),
  list('show brokers|broker', 'Brokers of the fleet', '/v1/brokers', BROKERS),
  { pattern: 'show plugins|plugin', doc: 'Plugins of the workers that are online', modes: EVERYWHERE, run: showPlugins },
  { pattern: 'show whoami', doc: 'Who you are, and in which team', modes: EVERYWHERE, run: (call) => record(call, '/v1/whoami') },
];

function list<T>(pattern: string, doc: string, path: string, columns: readonly Column<T>[]): Command {
  return { pattern, doc, modes: EVERYWHERE, run: async (call) => table(columns, await call.connection.list<T>(path, call.signal)) };
}

function single(pattern: string, doc: string, path: string, value: string): Command {
  const run = (call: Call): Promise<Answer> => record(call, `${path}/${encodeURIComponent(call.values[value] ?? '')}`);
  return { pattern, doc, modes: EVERYWHERE, run };
}

/** One object as lines of property and value. */
async function record(call: Call, path: string): Promise<Answer> {
  const found = await call.connection.call<Record<string, unknown>>({ method: 'GET', path, signal: call.signal });
  return text(recordLines(found), found);
}

async function showPlugins(call: Call): Promise<Answer> {
  const workers = await call.connection.list<WorkerView>('/v1/workers', call.signal);
  const byPlugin = new Map<string, string[]>();
  for (const { identity, plugins } of workers)
    for (const plugin of plugins) byPlugin.set(plugin, [...(byPlugin.get(plugin) ?? []), identity]);
  const items = [...byPlugin].map(([plugin, on]) => ({ plugin, workers: on })).toSorted((a, b) => (a.plugin < b.plugin ? -1 : 1));
  return table<(typeof items)[number]>(
    [
      { title: 'plugin', of: ({ plugin }) => plugin },
      { title: 'workers', of: ({ workers: on }) => on.join(', ') },
    ],
    items,
  );
}
