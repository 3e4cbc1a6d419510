import type { Node } from '../tree.ts';

const DIRECTORY = 0o040000;
const FILE = 0o100000;

/** What stat(2) shows. Times are dates, sizes bytes. */
export interface Stat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly nlink: number;
  readonly ino: number;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
}

/** Everything belongs to the user who mounted. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The attributes of a node. A trigger file has size 0, as documented; its inode number outlasts renames and mounts. */
export function statOf(node: Node, owner: Owner): Stat {
  const directory = node.kind === 'directory';
  const time = new Date(node.updatedAt);
  return {
    mode: (directory ? DIRECTORY : FILE) | (node.mode & 0o777),
    uid: owner.uid,
    gid: owner.gid,
    size: 0,
    nlink: 1,
    ino: directory ? node.id * 2 + 1 : node.id * 2 + 2,
    atime: time,
    mtime: time,
    ctime: time,
  };
}
