import { TriggerFsError } from '../protocol/errors.ts';
import type { Log } from '../runtime/logging.ts';
import { type Fuse, loadFuse } from './fuse-library.ts';
import { handlersOf } from './handlers.ts';
import type { Operations } from './operations/index.ts';

/** How long an operation that asks the control-plane may take before its caller gets ETIMEDOUT. */
const OPERATION_TIMEOUT_MS = 15_000;
const MOUNT_TIMEOUT_MS = 10_000;
/** Operations that are answered before their handler returns: a timer for each would only cost. */
const IMMEDIATE = ['getattr', 'readdir', 'statfs', 'open', 'create', 'write', 'flush', 'fsync', 'release', 'truncate', 'utimens', 'chown'];
const IMMEDIATE_ATTRIBUTES = ['getxattr', 'listxattr', 'setxattr', 'removexattr', 'unlink', 'link', 'symlink', 'mknod', 'init'];
/**
 * Options of libfuse that fuse-native has no names for; libfuse splits them off the file system's name at the commas.
 * direct_io: each write(2) arrives whole and `cat` reads files of size 0. big_writes: up to 128 KiB at once.
 * hard_remove: no .fuse_hidden files. The short timeouts let changes made elsewhere show at once.
 */
export const MOUNT_OPTIONS = 'triggerfs,direct_io,big_writes,hard_remove,use_ino,attr_timeout=0.2,entry_timeout=0.2';

/** Native threads may look at their mount after it is gone, so no instance is ever collected. */
const everMounted: Fuse[] = [];

/** Options of `FuseMount.mount`. */
export interface MountOptions {
  /** Absolute path of an empty directory. */
  readonly mountpoint: string;
  readonly operations: Operations;
  /** Other users of the machine may use the mount. */
  readonly allowOther: boolean;
  /** Detaches the mount from the file system tree, without a shell. */
  readonly unmount: (mountpoint: string) => Promise<void>;
  readonly log: Log;
}

/** A FUSE mount. Every request is answered exactly once, whatever a handler does. */
export class FuseMount {
  readonly #fuse: Fuse;
  #unmounting: Promise<void> | null = null;

  private constructor(fuse: Fuse) {
    this.#fuse = fuse;
  }

  /** Mounts. @throws TriggerFsError TFS_MOUNT */
  static async mount(options: MountOptions): Promise<FuseMount> {
    const FuseClass = loadFuse(options.unmount);
    const timeout = Object.fromEntries([...IMMEDIATE, ...IMMEDIATE_ATTRIBUTES].map((name) => [name, false]));
    const fuse = new FuseClass(options.mountpoint, handlersOf(options.operations, options.log), {
      fsname: MOUNT_OPTIONS,
      defaultPermissions: true,
      allowOther: options.allowOther,
      timeout: { ...timeout, default: OPERATION_TIMEOUT_MS },
    });
    everMounted.push(fuse);
    await new Promise<void>((resolve, reject) => {
      const refuse = (reason: string, cause?: unknown): void =>
        reject(new TriggerFsError('TFS_MOUNT', `cannot mount ${options.mountpoint}: ${reason}`, { cause }));
      const timer = setTimeout(() => refuse('the kernel does not answer'), MOUNT_TIMEOUT_MS);
      fuse.mount((error) => {
        clearTimeout(timer);
        if (error === null || error === undefined) resolve();
        else refuse(error.message, error);
      });
    });
    return new FuseMount(fuse);
  }

  /** Unmounts; concurrent callers share one attempt. */
  unmount(): Promise<void> {
    this.#unmounting ??= new Promise((resolve, reject) => {
      this.#fuse.unmount((error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
    return this.#unmounting;
  }
}
