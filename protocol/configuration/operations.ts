import type { HookChange, HttpChange } from '../http/gateway.ts';

/** What configuration commands are about. `users`, `invites` and `tokens` are no part of the configuration text. */
export const OBJECT_NAMES = ['teams', 'users', 'invites', 'tokens', 'directories', 'workers', 'services', 'triggers', 'schedules'] as const;

/** Kind of an object, the way commands and API paths write it. */
export type ObjectName = (typeof OBJECT_NAMES)[number];

/** Value of a setting as the API's bodies hold it; null means the default where a body says so. */
export type SettingValue = string | number | boolean | null | readonly string[];

/** Settings by the name of their property in the API's bodies, such as `timeoutMs`. */
export type Settings = Readonly<Record<string, SettingValue>>;

/** What one configuration command asks for. Names are as the command wrote them: a trigger's may be its bare file name or its path. */
export type Operation =
  | { readonly verb: 'create'; readonly object: ObjectName; readonly name: string; readonly settings: Settings }
  /** `name` is empty for the team of the session. */
  | { readonly verb: 'change'; readonly object: ObjectName; readonly name: string; readonly settings: Settings }
  /** A worker or plugin of a service, or the service of a trigger. */
  | {
      readonly verb: 'attach' | 'detach';
      readonly object: 'services' | 'triggers';
      readonly name: string;
      readonly list: ListName;
      readonly item: string;
    }
  /** One argument that a trigger or schedule hands to its plugin; null removes it. */
  | {
      readonly verb: 'argument';
      readonly object: 'triggers' | 'schedules';
      readonly name: string;
      readonly key: string;
      readonly value: string | null;
    }
  /** How a service answers over HTTP; null puts all of it back. */
  | { readonly verb: 'http'; readonly object: 'services'; readonly name: string; readonly change: HttpChange | null }
  /** A webhook of a service, made when it is not there; null deletes it. */
  | { readonly verb: 'hook'; readonly object: 'services'; readonly name: string; readonly hook: string; readonly change: HookChange | null }
  | { readonly verb: 'delete'; readonly object: ObjectName; readonly name: string }
  | { readonly verb: 'rename'; readonly object: ObjectName; readonly name: string; readonly to: string };

/** What is attached to an object. */
export type ListName = 'workers' | 'plugins' | 'service';

/** How the word after a list is written, and what its items are. */
export interface ListDefinition {
  readonly add: string;
  readonly remove: string;
  /** `plugins` are named by hand or completed from workers. */
  readonly of: 'workers' | 'plugins' | 'services';
  readonly doc: string;
}

/** Lists by object and word. */
export const LISTS: Readonly<Partial<Record<ObjectName, Readonly<Partial<Record<ListName, ListDefinition>>>>>> = {
  services: {
    workers: { add: 'add', remove: 'remove', of: 'workers', doc: 'Workers behind the service, in attach order' },
    plugins: { add: 'add', remove: 'remove', of: 'plugins', doc: 'Plugins that may be called (`all`: every one, `none`: none)' },
  },
  triggers: { service: { add: 'attach', remove: 'detach', of: 'services', doc: 'Service that takes what is written' } },
};

/** How an object is named in commands. */
export interface ObjectDefinition {
  /** Accepted in place of the plural. */
  readonly singular: string;
  /** Words that introduce the name of a new object: `set workers identity demo01`. The first one is what is printed. */
  readonly naming: readonly string[];
  readonly rename: boolean;
  /** Whether it is in the configuration text, and may be committed. */
  readonly configuration: boolean;
  readonly doc: string;
}

/** All objects. */
export const OBJECTS: Readonly<Record<ObjectName, ObjectDefinition>> = {
  teams: { singular: 'team', naming: ['name'], rename: true, configuration: true, doc: 'The team of this session' },
  users: { singular: 'user', naming: [], rename: false, configuration: false, doc: 'Members of the team' },
  invites: { singular: 'invite', naming: ['email', 'identity'], rename: false, configuration: false, doc: 'Invitations into the team' },
  tokens: { singular: 'token', naming: ['name'], rename: false, configuration: false, doc: 'Own API tokens' },
  directories: { singular: 'directory', naming: ['path', 'name'], rename: true, configuration: true, doc: 'Directories of the file tree' },
  workers: { singular: 'worker', naming: ['identity', 'name'], rename: true, configuration: true, doc: 'Workers' },
  services: { singular: 'service', naming: ['name'], rename: true, configuration: true, doc: 'Services' },
  triggers: { singular: 'trigger', naming: ['name', 'path'], rename: true, configuration: true, doc: 'Trigger files' },
  schedules: { singular: 'schedule', naming: ['name'], rename: true, configuration: true, doc: 'Clocks with a rule' },
};

/** The object that a word names, in the singular or plural; null for another word. */
export function objectName(word: string): ObjectName | null {
  return OBJECT_NAMES.find((name) => name === word || OBJECTS[name].singular === word) ?? null;
}

/** Whether an operation may be committed; others have routes of their own. A new team is none of this team's configuration. */
export function isConfiguration(operation: Operation): boolean {
  return (
    OBJECTS[operation.object].configuration && !(operation.object === 'teams' && operation.verb !== 'change' && operation.verb !== 'rename')
  );
}
