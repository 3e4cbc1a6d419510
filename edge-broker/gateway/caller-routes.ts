/** What an HTTP request asks for, apart from its payload. */
export interface Rule {
  /** `team/service`. */
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
}

/** A rule that the session has declared. */
export interface CallerRoute {
  readonly number: number;
  readonly key: string;
  /** Calls on their way. */
  users: number;
}

/** What route changes are written to. */
export interface RouteRecords {
  route(number: number, rule: Rule): void;
  unroute(number: number): void;
}

/** Rules that stay declared while nobody uses them. */
const KEPT = 64;
/** Rules with more text than this (they hold data as arguments) are given back at once. */
const KEPT_CHARACTERS = 2048;

/** The rules of one caller, so that repeating a request declares nothing. Those not used for longest give way. */
export class CallerRoutes {
  readonly #records: RouteRecords;
  readonly #routes = new Map<string, CallerRoute>();
  #last = 0;

  constructor(records: RouteRecords) {
    this.#records = records;
  }

  /** The route of a rule, declared if it is not. Every acquired route is released once. */
  acquire(rule: Rule): CallerRoute {
    const key = JSON.stringify([rule.service, rule.plugin, Object.entries(rule.args).sort()]);
    const known = this.#routes.get(key);
    this.#routes.delete(key);
    const route = known ?? this.#declare(key, rule);
    route.users += 1;
    this.#routes.set(key, route);
    return route;
  }

  /** A call on the route has ended. */
  release(route: CallerRoute): void {
    route.users -= 1;
    if (route.users > 0) return;
    if (route.key.length > KEPT_CHARACTERS) this.#forget(route);
    else if (this.#routes.size > KEPT) this.#forgetOldest();
  }

  #declare(key: string, rule: Rule): CallerRoute {
    this.#last += 1;
    this.#records.route(this.#last, rule);
    return { number: this.#last, key, users: 0 };
  }

  #forgetOldest(): void {
    for (const route of this.#routes.values()) {
      if (route.users > 0) continue;
      this.#forget(route);
      return;
    }
  }

  #forget(route: CallerRoute): void {
    this.#routes.delete(route.key);
    this.#records.unroute(route.number);
  }
}
