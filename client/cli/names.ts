import type { Connection } from './connection.ts';

/** Younger names are used as they are; older ones are used too, but asked for again. */
const FRESH_MS = 2_000;
/** Completion answers with what is known after this time. */
const LIMIT_MS = 120;

type Item = Readonly<Record<string, unknown>>;

interface Source {
  readonly path: string;
  readonly of: (item: Item) => readonly string[];
}

const one =
  (field: string) =>
  (item: Item): string[] =>
    typeof item[field] === 'string' ? [item[field]] : [];

/** Where the live names of each kind of value come from. */
const SOURCES: Readonly<Record<string, Source>> = {
  worker: { path: '/v1/workers', of: one('identity') },
  service: { path: '/v1/services', of: one('name') },
  trigger: { path: '/v1/triggers', of: one('path') },
  directory: { path: '/v1/directories', of: one('path') },
  user: { path: '/v1/users', of: one('identity') },
  team: { path: '/v1/teams', of: one('name') },
  schedule: { path: '/v1/schedules', of: one('name') },
  invocation: { path: '/v1/history?limit=100', of: one('id') },
  queued: { path: '/v1/queue?limit=100', of: one('id') },
  dead: { path: '/v1/queue?state=dead&limit=100', of: one('id') },
  hook: {
    path: '/v1/services',
    of: ({ hooks }) => (Array.isArray(hooks) ? hooks.map(({ name }: { name: unknown }) => String(name)) : []),
  },
  token: { path: '/v1/tokens', of: one('name') },
  invite: { path: '/v1/invites', of: ({ email, identity }) => [email, identity].filter((name) => typeof name === 'string') },
  invitation: { path: '/v1/invitations', of: ({ id }) => [String(id)] },
  session: { path: '/v1/sessions', of: one('id') },
  maintenance: { path: '/v1/maintenance', of: ({ id }) => [String(id)] },
  letter: { path: '/v1/mail', of: ({ id }) => [String(id)] },
  plugin: { path: '/v1/workers', of: ({ plugins }) => (Array.isArray(plugins) ? plugins.map(String) : []) },
};

/** What most commands name. */
const PREFETCHED = ['/v1/workers', '/v1/services', '/v1/triggers'];

interface Entry {
  items: readonly Item[];
  readAt: number;
  reading: Promise<void> | null;
}

/** The names of what exists, for completion. They are kept, so that a key is answered at once also by a slow network. */
export class Names {
  readonly #lists = new Map<string, Entry>();
  readonly #connection: () => Pick<Connection, 'list'>;

  constructor(connection: () => Pick<Connection, 'list'>) {
    this.#connection = connection;
  }

  /** Names of a kind of value; empty for a kind that has none. Never fails and never takes longer than a moment. */
  async of(kind: string): Promise<readonly string[]> {
    if (kind === 'zone') return Intl.supportedValuesOf('timeZone');
    const source = SOURCES[kind];
    if (source === undefined) return [];
    const entry = this.#entry(source.path);
    if (performance.now() - entry.readAt > FRESH_MS) {
      const reading = this.#read(source.path, entry);
      if (entry.readAt === Number.NEGATIVE_INFINITY) await withinLimit(reading);
    }
    const names = new Set(entry.items.flatMap(source.of));
    return [...names].toSorted();
  }

  /** Reads what completion will need first. */
  prefetch(): void {
    for (const path of PREFETCHED) void this.#read(path, this.#entry(path));
  }

  /** Something was made, renamed or deleted: what is known is read again. */
  changed(): void {
    for (const [path, entry] of this.#lists) {
      entry.reading = null;
      void this.#read(path, entry);
    }
  }

  /** Forgets everything, as after switching the team. */
  forget(): void {
    this.#lists.clear();
  }

  #entry(path: string): Entry {
    let entry = this.#lists.get(path);
    if (entry === undefined) {
      entry = { items: [], readAt: Number.NEGATIVE_INFINITY, reading: null };
      this.#lists.set(path, entry);
    }
    return entry;
  }

  #read(path: string, entry: Entry): Promise<void> {
    if (entry.reading !== null) return entry.reading;
    const reading = this.#connection()
      .list<Item>(path)
      .then((items) => {
        // A later reading, begun after a change, knows more.
        if (entry.reading !== reading) return;
        entry.items = items;
        entry.readAt = performance.now();
      })
      .catch(() => undefined)
      .finally(() => {
        if (entry.reading === reading) entry.reading = null;
      });
    entry.reading = reading;
    return reading;
  }
}

function withinLimit(work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, LIMIT_MS);
    void work.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
