import type { CallTable } from './call-table.ts';
import type { ClientRoute, RouteRule } from './route.ts';

/** Rules of single invocations that are kept announced. */
const LIMIT = 64;

/** The rules that single invocations used last, so that repeating one does not announce it again. */
export class RouteCache {
  readonly #calls: CallTable;
  readonly #routes = new Map<string, ClientRoute>();

  constructor(calls: CallTable) {
    this.#calls = calls;
  }

  /** The route of a rule; the one that was not used for longest gives way. */
  route({ service, plugin, args }: RouteRule): ClientRoute {
    const key = JSON.stringify([service, plugin, Object.entries(args ?? {}).sort()]);
    const route = this.#routes.get(key) ?? this.#calls.openRoute(args === undefined ? { service, plugin } : { service, plugin, args });
    this.#routes.delete(key);
    this.#routes.set(key, route);
    if (this.#routes.size > LIMIT) {
      const [oldest, unused] = this.#routes.entries().next().value as [string, ClientRoute];
      this.#routes.delete(oldest);
      unused.close();
    }
    return route;
  }
}
