/** Conditions of a WHERE clause and the values of its parameters. */
export class Conditions {
  readonly values: unknown[];
  readonly #parts: string[] = [];

  /** `first`: values of the statement's earlier parameters. */
  constructor(...first: unknown[]) {
    this.values = first;
  }

  /** Adds a value; returns its parameter, such as `$3`. */
  bind(value: unknown): string {
    return `$${this.values.push(value)}`;
  }

  /** Adds a condition. SQL comes from code, never from requests. */
  add(sql: string): this {
    this.#parts.push(sql);
    return this;
  }

  get sql(): string {
    return this.#parts.join(' and ');
  }
}
