import type { Stat } from './stat.ts';

/** What statfs(2) shows. */
export interface StatFs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly favail: number;
  readonly namemax: number;
}

/**
 * What the mount asks, one method a system call. Paths are absolute inside the mount. A refusal is thrown as FsError
 * (or TriggerFsError from the control-plane); anything else that is thrown becomes EIO and is logged.
 * The kernel has checked permissions before (`default_permissions`).
 */
export interface Operations {
  getattr(path: string): Stat;
  readdir(path: string): readonly string[];
  statfs(): StatFs;
  /** Returns the handle for the calls below. */
  open(path: string, flags: number): number;
  /** Fills `target` with what is at `offset`; returns the bytes, 0 at the end. */
  read(handle: number, target: Buffer, offset: number): number | Promise<number>;
  /** Returns the bytes accepted; `data` is valid during the call only. */
  write(handle: number, data: Buffer): number;
  flush(handle: number): void;
  fsync(handle: number): void;
  release(handle: number): void;
  truncate(path: string): void;
  create(path: string): number;
  mkdir(path: string, mode: number): Promise<void>;
  rmdir(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  chown(path: string, uid: number, gid: number): void;
  utimens(path: string): void;
  /** Undefined when there is no such attribute. */
  getxattr(path: string, name: string): Buffer | undefined;
  listxattr(path: string): readonly string[];
  /** Calls that no trigger file system supports: unlink, link, symlink, mknod, setting attributes. */
  refuse(call: string): never;
}
