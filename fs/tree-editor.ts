import type { DirectoryView } from '../protocol/http/directory.ts';
import { isTreePath } from '../protocol/names.ts';
import { FsError } from './errno.ts';
import { baseName, type FileTree, parentPath } from './tree.ts';

/** A call to the control-plane's API with the current login. */
export interface ApiCaller {
  call<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T>;
}

/**
 * Changes to the file tree: the control-plane decides, and what it accepted shows here at once. Other mounts hear of it
 * through the brokers. @throws TriggerFsError what the control-plane answered
 */
export class TreeEditor {
  readonly #api: ApiCaller;
  readonly #tree: FileTree;
  readonly #onEdited: () => void;

  /** `onEdited` is called before each edit of the tree, so that an older answer does not undo it. */
  constructor(api: ApiCaller, tree: FileTree, onEdited: () => void) {
    this.#api = api;
    this.#tree = tree;
    this.#onEdited = onEdited;
  }

  /** Makes a directory. `mode` has permission bits only. */
  async makeDirectory(path: string, mode: number): Promise<void> {
    checkName(path);
    const directory = await this.#api.call<DirectoryView>('POST', '/v1/directories', { path, mode });
    this.#onEdited();
    this.#tree.add({ kind: 'directory', id: directory.id, path, mode: directory.mode, updatedAt: directory.updatedAt });
  }

  /** Removes an empty directory. */
  async removeDirectory(path: string): Promise<void> {
    await this.#api.call('DELETE', this.#address(path));
    this.#onEdited();
    this.#tree.remove(path);
  }

  /** Renames or moves a trigger, or a directory with everything in it. */
  async move(from: string, to: string): Promise<void> {
    checkName(to);
    if (this.#tree.get(from)?.kind === 'trigger' && parentPath(to) === '/') {
      throw new FsError('EPERM', 'trigger files must be in a directory');
    }
    await this.#api.call('PATCH', this.#address(from), { path: to });
    this.#onEdited();
    this.#tree.move(from, to);
  }

  /** Sets the permission bits. */
  async setMode(path: string, mode: number): Promise<void> {
    await this.#api.call('PATCH', this.#address(path), { mode });
    this.#onEdited();
    const node = this.#tree.get(path);
    if (node !== undefined) this.#tree.update({ ...node, mode });
  }

  /** Ids, not paths: a name that looks like a number is never taken for an id. */
  #address(path: string): string {
    const node = this.#tree.get(path);
    if (node === undefined) throw new FsError('ENOENT', path);
    if (path === '/') throw new FsError('EPERM', 'the root directory cannot be changed');
    return `/v1/${node.kind === 'directory' ? 'directories' : 'triggers'}/${node.id}`;
  }
}

function checkName(path: string): void {
  if (Buffer.byteLength(baseName(path)) > 255) throw new FsError('ENAMETOOLONG', 'a name has at most 255 bytes');
  if (!isTreePath(path)) throw new FsError('EINVAL', `${JSON.stringify(path)} is no name for a file or directory here`);
}
