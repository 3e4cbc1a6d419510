import { createRequire } from 'node:module';
import { TriggerFsError } from '../protocol/errors.ts';
import type { Log } from '../runtime/logging.ts';
import { errnoNumber } from './errno.ts';
import { type Handler, handlersOf, type Reply } from './handlers.ts';
import type { Operations } from './operations/index.ts';

/** The parts of fuse-native 2.2.6 that are used here; it comes without types. */
interface FuseInstance {
  mount(callback: (error: Error | null) => void): void;
  unmount(callback: (error: Error | null) => void): void;
}
type Signal = (result: number, buffer: ArrayBufferLike) => void;
interface FuseClass {
  new (mountpoint: string, handlers: Readonly<Record<string, Handler>>, options: Readonly<Record<string, unknown>>): FuseInstance;
  unmount: (mountpoint: string, callback: (error: Error | null) => void) => void;
}

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
const everMounted: FuseInstance[] = [];

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

/** A FUSE mount: the only user of fuse-native. Every request is answered exactly once, whatever a handler does. */
export class FuseMount {
  readonly #fuse: FuseInstance;
  #unmounting: Promise<void> | null = null;

  private constructor(fuse: FuseInstance) {
    this.#fuse = fuse;
  }

  /** Mounts. @throws TriggerFsError TFS_MOUNT */
  static async mount(options: MountOptions): Promise<FuseMount> {
    const Fuse = prepare(loadFuse(), options.unmount);
    const timeout = Object.fromEntries([...IMMEDIATE, ...IMMEDIATE_ATTRIBUTES].map((name) => [name, false]));
    const fuse = new Fuse(options.mountpoint, handlersOf(options.operations, options.log), {
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

function loadFuse(): FuseClass {
  try {
    return createRequire(import.meta.url)('fuse-native') as FuseClass;
  } catch (cause) {
    throw new TriggerFsError('TFS_MOUNT', `cannot load libfuse: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Replaces what fuse-native does badly: it unmounts through a shell, and answers a too small attribute buffer with a
 * length beyond it, which makes libfuse read past its end; such a request is due ERANGE.
 */
function prepare(Fuse: FuseClass, unmount: (mountpoint: string) => Promise<void>): FuseClass {
  // fuse-native calls the method of its own class, not of a derived one.
  Fuse.unmount = (mountpoint, callback) => {
    unmount(mountpoint).then(
      () => callback(null),
      (error: Error) => callback(error),
    );
  };
  return class extends Fuse {
    _op_getxattr(signal: Signal, path: string, name: string, target: Buffer): void {
      (this as unknown as { ops: { getxattr: (path: string, name: string, reply: Reply) => void } }).ops.getxattr(
        path,
        name,
        (result, value) => signal(fill(target, result, value as Buffer | undefined), target.buffer),
      );
    }

    _op_listxattr(signal: Signal, path: string, target: Buffer): void {
      (this as unknown as { ops: { listxattr: (path: string, reply: Reply) => void } }).ops.listxattr(path, (result, value) => {
        const list = Buffer.from((value as readonly string[] | undefined)?.map((name) => `${name}\0`).join('') ?? '');
        signal(fill(target, result, list), target.buffer);
      });
    }
  };
}

function fill(target: Buffer, result: number, value: Buffer | undefined): number {
  if (result < 0 || value === undefined) return result;
  // An empty target asks for the size.
  if (target.length === 0) return value.length;
  if (target.length < value.length) return errnoNumber('ERANGE');
  return value.copy(target);
}
