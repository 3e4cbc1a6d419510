import type { HookSettings, HttpSettings } from '../http/gateway.ts';
import { describeHook, describeHttp } from './http.ts';
import type { Operation, Settings, SettingValue } from './operations.ts';
import { SETTINGS } from './settings.ts';

/** What of a team is configuration: the views of the API's list answers, with their settings by property. */
export interface TeamConfiguration {
  readonly description: string;
  readonly directories: readonly { readonly path: string }[];
  readonly workers: readonly { readonly identity: string }[];
  /** `workers` in attach order. */
  readonly services: readonly {
    readonly name: string;
    readonly workers: readonly string[];
    readonly plugins: readonly string[] | null;
    readonly http: HttpSettings;
    readonly hooks: readonly (HookSettings & { readonly name: string })[];
  }[];
  readonly triggers: readonly {
    readonly path: string;
    readonly service: string | null;
    readonly args: Readonly<Record<string, string>>;
  }[];
  readonly schedules: readonly { readonly name: string; readonly args: Readonly<Record<string, string>> }[];
}

/**
 * The operations that rebuild a team's configuration in an empty team, in an order that works. Objects of a kind are ordered by
 * name, so that the same team always reads the same. Only what differs from a new object is set.
 */
export function describeTeam(team: TeamConfiguration): readonly Operation[] {
  return [
    ...changes('teams', '', { description: team.description }),
    ...byName(team.directories, ({ path }) => path).flatMap((directory) => described('directories', directory.path, directory)),
    ...byName(team.workers, ({ identity }) => identity).flatMap((worker) => described('workers', worker.identity, worker)),
    ...byName(team.services, ({ name }) => name).flatMap(describeService),
    ...byName(team.triggers, ({ path }) => path).flatMap(describeTrigger),
    ...byName(team.schedules, ({ name }) => name).flatMap((schedule) => [
      ...described('schedules', schedule.name, schedule),
      ...describeArgs('schedules', schedule.name, schedule.args),
    ]),
  ];
}

function describeService(service: TeamConfiguration['services'][number]): readonly Operation[] {
  const { name, workers, plugins, http, hooks } = service;
  // A public service needs its plugins first.
  return [
    { verb: 'create', object: 'services', name, settings: {} },
    ...(plugins === null ? [] : allowed(name, plugins)),
    ...changes('services', name, service),
    ...workers.map((item): Operation => ({ verb: 'attach', object: 'services', name, list: 'workers', item })),
    ...describeHttp(name, http),
    ...byName(hooks, (hook) => hook.name).flatMap((hook) => describeHook(name, hook.name, hook)),
  ];
}

function allowed(name: string, plugins: readonly string[]): readonly Operation[] {
  if (plugins.length === 0) return [{ verb: 'change', object: 'services', name, settings: { plugins: [] } }];
  return plugins.map((item) => ({ verb: 'attach', object: 'services', name, list: 'plugins', item }));
}

function describeTrigger(trigger: TeamConfiguration['triggers'][number]): readonly Operation[] {
  const { path, service, args } = trigger;
  return [
    ...described('triggers', path, trigger),
    ...(service === null ? [] : [{ verb: 'attach', object: 'triggers', name: path, list: 'service', item: service } satisfies Operation]),
    ...describeArgs('triggers', path, args),
  ];
}

function describeArgs(object: 'triggers' | 'schedules', name: string, args: Readonly<Record<string, string>>): readonly Operation[] {
  return byName(Object.entries(args), ([key]) => key).map(([key, value]): Operation => ({ verb: 'argument', object, name, key, value }));
}

function described(object: 'directories' | 'workers' | 'triggers' | 'schedules', name: string, view: object): readonly Operation[] {
  return [{ verb: 'create', object, name, settings: {} }, ...changes(object, name, view)];
}

/** One operation per setting, so that differences of two texts show what changed. */
function changes(object: keyof typeof SETTINGS, name: string, view: object): readonly Operation[] {
  const values = view as Readonly<Record<string, SettingValue>>;
  return Object.values(SETTINGS[object]).flatMap(({ field, initial }) => {
    const value = values[field];
    if (value === undefined || value === initial) return [];
    const settings: Settings = { [field]: value };
    return [{ verb: 'change', object, name, settings } satisfies Operation];
  });
}

function byName<T>(objects: readonly T[], name: (object: T) => string): readonly T[] {
  return objects.toSorted((a, b) => (name(a) < name(b) ? -1 : 1));
}
