import { FsError } from '../errno.ts';
import type { FileTree, Node } from '../tree.ts';
import type { TreeEditor } from '../tree-editor.ts';
import type { StatFs } from './operations.ts';
import { type Owner, type Stat, statOf } from './stat.ts';

const BLOCK_BYTES = 4096;
const PERMISSIONS = 0o777;
/** chown(2) leaves what is given as -1. */
const UNCHANGED = 0xffffffff;

/** What Metadata works with. */
export interface MetadataOptions {
  readonly tree: FileTree;
  readonly editor: TreeEditor;
  readonly owner: Owner;
  readonly usage: () => { readonly usedBytes: number; readonly limitBytes: number };
}

/** System calls about names and attributes. None of them ever fires a trigger. */
export class Metadata {
  readonly #tree: FileTree;
  readonly #editor: TreeEditor;
  readonly #owner: Owner;
  readonly #usage: MetadataOptions['usage'];

  constructor(options: MetadataOptions) {
    this.#tree = options.tree;
    this.#editor = options.editor;
    this.#owner = options.owner;
    this.#usage = options.usage;
  }

  getattr(path: string): Stat {
    return statOf(this.#node(path), this.#owner);
  }

  readdir(path: string): readonly string[] {
    const names = this.#tree.list(path);
    if (names === undefined) throw new FsError(this.#tree.get(path) === undefined ? 'ENOENT' : 'ENOTDIR', path);
    return ['.', '..', ...names];
  }

  /** `df` shows the spool: its limit and what is left of it. */
  statfs(): StatFs {
    const { usedBytes, limitBytes } = this.#usage();
    const free = Math.max(0, Math.floor((limitBytes - usedBytes) / BLOCK_BYTES));
    return {
      bsize: BLOCK_BYTES,
      frsize: BLOCK_BYTES,
      blocks: Math.ceil(limitBytes / BLOCK_BYTES),
      bfree: free,
      bavail: free,
      files: this.#tree.size,
      ffree: 0,
      favail: 0,
      namemax: 255,
    };
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#editor.makeDirectory(path, mode & PERMISSIONS);
  }

  async rmdir(path: string): Promise<void> {
    if (this.#node(path).kind !== 'directory') throw new FsError('ENOTDIR', path);
    if (this.#tree.list(path)?.length !== 0) throw new FsError('ENOTEMPTY', path);
    await this.#editor.removeDirectory(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#node(from);
    if (from === to) return;
    if (this.#tree.get(to) !== undefined) throw new FsError('EEXIST', `${to} exists; a rename replaces nothing`);
    await this.#editor.move(from, to);
  }

  async chmod(path: string, mode: number): Promise<void> {
    const node = this.#node(path);
    if ((mode & 0o7000) !== 0) throw new FsError('EPERM', 'set-id and sticky bits have no meaning here');
    if ((node.mode & PERMISSIONS) !== (mode & PERMISSIONS)) await this.#editor.setMode(path, mode & PERMISSIONS);
  }

  chown(path: string, uid: number, gid: number): void {
    this.#node(path);
    const same = (given: number, own: number): boolean => given === own || given === UNCHANGED;
    if (!same(uid, this.#owner.uid) || !same(gid, this.#owner.gid)) throw new FsError('EPERM', 'everything belongs to whoever mounted');
  }

  /** Times come from the configuration; setting them (touch, cp -p) succeeds and changes nothing. */
  utimens(path: string): void {
    this.#node(path);
  }

  #node(path: string): Node {
    const node = this.#tree.get(path);
    if (node === undefined) throw new FsError('ENOENT', path);
    return node;
  }
}
