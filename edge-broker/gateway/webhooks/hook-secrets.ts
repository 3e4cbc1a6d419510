import { type KeyRing, open } from '../../../runtime/sealing/index.ts';
import type { HookConfig } from '../../directory/team.ts';

/** The secrets of hooks, opened when a delivery comes and kept for as long as the hook stays as it is. */
export class HookSecrets {
  readonly #keys: KeyRing;
  readonly #opened = new WeakMap<HookConfig, Promise<readonly Buffer[]>>();

  constructor(keys: KeyRing) {
    this.#keys = keys;
  }

  /** Those that are good at a time, in milliseconds since 1970. @throws TriggerFsError TFS_SEALED, or the database's error */
  async of(hook: HookConfig, now: number): Promise<readonly Buffer[]> {
    let opening = this.#opened.get(hook);
    if (opening === undefined) {
      opening = this.#open(hook);
      this.#opened.set(hook, opening);
      opening.catch(() => this.#opened.delete(hook));
    }
    const secrets = await opening;
    return secrets.filter((_, index) => (hook.secrets[index]?.endsAt ?? Number.POSITIVE_INFINITY) > now);
  }

  #open({ id, teamId, secrets }: HookConfig): Promise<readonly Buffer[]> {
    return Promise.all(secrets.map((secret) => open(this.#keys, teamId, `hook-secret|${teamId}|${id}|${secret.id}`, secret.sealed)));
  }
}
