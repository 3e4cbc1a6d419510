import { createRequire } from 'node:module';
import { MOUNT_OPTIONS } from '../../fs/mount.ts';
import { type Role, servingRole } from './role.ts';

interface FuseInstance {
  mount(callback: (error: Error | null) => void): void;
  unmount(callback: (error: Error | null) => void): void;
}
type Reply = (result: number, value?: unknown) => void;

const DIRECTORY_MODE = 0o40777;
const FILE_MODE = 0o100666;

/** The baseline for writes: files whose write handler does nothing but answer, with the mount options of the real thing. */
export async function start({ mountpoint, files }: { readonly mountpoint: string; readonly files: readonly string[] }): Promise<Role> {
  const Fuse = createRequire(import.meta.url)('fuse-native') as new (
    mountpoint: string,
    handlers: Readonly<Record<string, (...args: never[]) => void>>,
    options: Readonly<Record<string, unknown>>,
  ) => FuseInstance;
  const attributes = (mode: number): object => ({ mode, nlink: 1, size: 0, uid: 0, gid: 0, ino: mode, mtime: 0, atime: 0, ctime: 0 });
  const done = (...args: unknown[]): void => (args.at(-1) as Reply)(0);
  const handlers = {
    getattr: (path: string, reply: Reply) => {
      if (path === '/') reply(0, attributes(DIRECTORY_MODE));
      else if (files.includes(path.slice(1))) reply(0, attributes(FILE_MODE));
      else reply(-2);
    },
    readdir: (_path: string, reply: Reply) => reply(0, files),
    open: (_path: string, _flags: number, reply: Reply) => reply(0, 1),
    write: (_path: string, _fd: number, _buffer: Buffer, length: number, _position: number, reply: Reply) => reply(length),
    truncate: done,
    flush: done,
    release: done,
  };
  const fuse = new Fuse(mountpoint, handlers, { fsname: MOUNT_OPTIONS, defaultPermissions: true, timeout: false });
  await new Promise<void>((resolve, reject) => fuse.mount((error) => (error ? reject(error) : resolve())));
  return servingRole(mountpoint, () => new Promise((resolve) => fuse.unmount(() => resolve())));
}
