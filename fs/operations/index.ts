import { FsError } from '../errno.ts';
import type { ExtendedAttributes } from './extended-attributes.ts';
import type { Files } from './files.ts';
import type { Metadata } from './metadata.ts';
import type { Operations } from './operations.ts';

export { ExtendedAttributes } from './extended-attributes.ts';
export { Files } from './files.ts';
export { Metadata } from './metadata.ts';
export type { Operations } from './operations.ts';

/** All system calls of the mount. */
export function createOperations(metadata: Metadata, files: Files, attributes: ExtendedAttributes): Operations {
  return {
    getattr: (path) => metadata.getattr(path),
    readdir: (path) => metadata.readdir(path),
    statfs: () => metadata.statfs(),
    open: (path, flags) => files.open(path, flags),
    read: (handle, target, offset) => files.read(handle, target, offset),
    write: (handle, data) => files.write(handle, data),
    flush: (handle) => files.flush(handle),
    fsync: (handle) => files.fsync(handle),
    release: (handle) => files.release(handle),
    truncate: (path) => files.truncate(path),
    create: (path) => files.create(path),
    mkdir: (path, mode) => metadata.mkdir(path, mode),
    rmdir: (path) => metadata.rmdir(path),
    rename: (from, to) => metadata.rename(from, to),
    chmod: (path, mode) => metadata.chmod(path, mode),
    chown: (path, uid, gid) => metadata.chown(path, uid, gid),
    utimens: (path) => metadata.utimens(path),
    getxattr: (path, name) => attributes.getxattr(path, name),
    listxattr: (path) => attributes.listxattr(path),
    refuse: (call) => {
      throw new FsError('EPERM', `${call} is not possible on trigger files`);
    },
  };
}
