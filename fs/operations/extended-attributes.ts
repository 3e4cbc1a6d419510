import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { FsError } from '../errno.ts';
import type { Responses } from '../responses.ts';
import type { StoredResponse } from '../spool/message.ts';
import type { FileTree } from '../tree.ts';

const PREFIX = 'user.triggerfs.';

const ATTRIBUTES: Readonly<Record<string, (response: StoredResponse) => string>> = {
  [`${PREFIX}invocation`]: (response) => formatInvocationId(response.invocation),
  [`${PREFIX}verdict`]: (response) => response.verdict,
  [`${PREFIX}exit_code`]: (response) => String(response.exitCode),
};
const NAMES = Object.keys(ATTRIBUTES);

/** `user.triggerfs.*`: what became of the last message. There are none before the first response. */
export class ExtendedAttributes {
  readonly #tree: FileTree;
  readonly #responses: Responses;

  constructor(tree: FileTree, responses: Responses) {
    this.#tree = tree;
    this.#responses = responses;
  }

  getxattr(path: string, name: string): Buffer | undefined {
    // The kernel asks for security attributes all the time: answered before anything is looked up.
    if (!name.startsWith(PREFIX) || !Object.hasOwn(ATTRIBUTES, name)) return undefined;
    const response = this.#response(path);
    return response === undefined ? undefined : Buffer.from((ATTRIBUTES[name] as (response: StoredResponse) => string)(response));
  }

  listxattr(path: string): readonly string[] {
    return this.#response(path) === undefined ? [] : NAMES;
  }

  #response(path: string): StoredResponse | undefined {
    const node = this.#tree.get(path);
    if (node === undefined) throw new FsError('ENOENT', path);
    return node.kind === 'trigger' ? this.#responses.latest(node.id) : undefined;
  }
}
