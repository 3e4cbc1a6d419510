import { open, seal, type TeamKeys } from '../../../runtime/sealing/index.ts';
import type { Bearer } from '../bearers.ts';

const PATH = '/v1/invocations/';
const KEY = /^[A-Za-z0-9_-]{40,64}$/;

/**
 * Addresses of accepted invocations. A caller without a token gets one with a key in it, which every broker of the fleet knows
 * again without keeping it: nothing, sealed for that invocation.
 */
export class KeptKeys {
  readonly #keys: TeamKeys;

  constructor(keys: TeamKeys) {
    this.#keys = keys;
  }

  /** The address that tells what became of an invocation. */
  async location({ principal: { kind, teamId, onlyService } }: Bearer, id: string): Promise<string> {
    if (onlyService === null || kind !== 'anonymous') return PATH + id;
    const key = seal(await this.#keys.current(teamId), aadOf(teamId, id), Buffer.alloc(0)).toString('base64url');
    return `${PATH}${id}?team=${teamId}&key=${key}`;
  }

  /** Whether a key is that of an invocation. */
  async isKey(teamId: number, id: string, key: unknown): Promise<boolean> {
    if (typeof key !== 'string' || !KEY.test(key)) return false;
    return open(this.#keys, teamId, aadOf(teamId, id), Buffer.from(key, 'base64url')).then(
      () => true,
      () => false,
    );
  }
}

function aadOf(teamId: number, id: string): string {
  return `invocation-key|${teamId}|${id.toLowerCase()}`;
}
