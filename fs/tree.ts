import type { Tree, TreeDirectory, TreeTrigger } from '../protocol/http/tree.ts';
import { isTreePath } from '../protocol/names.ts';

/** A directory as the mount shows it. */
export interface DirectoryNode extends TreeDirectory {
  readonly kind: 'directory';
}

/** A trigger file as the mount shows it. */
export interface TriggerNode extends TreeTrigger {
  readonly kind: 'trigger';
}

/** What a path leads to. */
export type Node = DirectoryNode | TriggerNode;

const ROOT: DirectoryNode = { kind: 'directory', id: 0, path: '/', mode: 0o775, updatedAt: new Date(0).toISOString() };

/** Path of the directory that holds a path. */
export function parentPath(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}

/** Last segment of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/**
 * The file tree in memory. It is replaced as a whole by what the control-plane answers; edits made here are applied
 * to it at once and are part of the next answer.
 */
export class FileTree {
  #nodes = new Map<string, Node>();
  #children = new Map<string, Set<string>>();
  #triggers = new Map<number, TriggerNode>();
  #version = -1;

  constructor() {
    this.#clear();
  }

  /** Version of the team's configuration that is shown; -1 before the first tree. */
  get version(): number {
    return this.#version;
  }

  /** The node at a path. */
  get(path: string): Node | undefined {
    return this.#nodes.get(path);
  }

  /** A trigger by its id, wherever it was moved. */
  trigger(id: number): TriggerNode | undefined {
    return this.#triggers.get(id);
  }

  /** Names in a directory, in order; undefined when it is none. */
  list(path: string): readonly string[] | undefined {
    const children = this.#children.get(path);
    return children === undefined ? undefined : [...children].sort();
  }

  /** Directories and trigger files in all. */
  get size(): number {
    return this.#nodes.size;
  }

  /** Shows another tree. Nodes with a name no file can have, or without their parent, are left out; returns their paths. */
  replace(tree: Tree): readonly string[] {
    this.#clear();
    this.#version = tree.version;
    const left: string[] = [];
    const directories = [...tree.directories].sort((one, other) => one.path.length - other.path.length);
    for (const directory of directories) if (!this.add({ ...directory, kind: 'directory' })) left.push(directory.path);
    for (const trigger of tree.triggers) if (!this.add({ ...trigger, kind: 'trigger' })) left.push(trigger.path);
    return left;
  }

  /** Shows a new node; false when its name is impossible, its parent missing or its path taken. */
  add(node: Node): boolean {
    const siblings = this.#children.get(parentPath(node.path));
    if (siblings === undefined || node.path === '/' || !isTreePath(node.path) || this.#nodes.has(node.path)) return false;
    this.#put(node);
    siblings.add(baseName(node.path));
    return true;
  }

  /** Shows other attributes of the node at the same path. */
  update(node: Node): void {
    if (this.#nodes.has(node.path)) this.#put(node);
  }

  /** Hides a trigger or an empty directory. */
  remove(path: string): void {
    const node = this.#nodes.get(path);
    if (node === undefined || path === '/') return;
    this.#nodes.delete(path);
    this.#children.delete(path);
    this.#children.get(parentPath(path))?.delete(baseName(path));
    if (node.kind === 'trigger') this.#triggers.delete(node.id);
  }

  /** Shows a node, and everything below it, under another path. */
  move(from: string, to: string): void {
    const node = this.#nodes.get(from);
    if (node === undefined) return;
    const names = this.list(from) ?? [];
    this.#nodes.delete(from);
    this.#children.get(parentPath(from))?.delete(baseName(from));
    this.add({ ...node, path: to });
    for (const name of names) this.move(`${from}/${name}`, `${to}/${name}`);
    this.#children.delete(from);
  }

  #put(node: Node): void {
    this.#nodes.set(node.path, node);
    if (node.kind === 'trigger') this.#triggers.set(node.id, node);
    else if (!this.#children.has(node.path)) this.#children.set(node.path, new Set());
  }

  #clear(): void {
    this.#nodes = new Map([['/', ROOT]]);
    this.#children = new Map([['/', new Set()]]);
    this.#triggers = new Map();
  }
}
