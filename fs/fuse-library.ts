import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { TriggerFsError } from '../protocol/errors.ts';
import { errnoNumber } from './errno.ts';
import type { Handler, Reply } from './handlers.ts';

type Callback = (error: Error | null) => void;
type Handlers = Readonly<Record<string, Handler>>;
type Signal = (result: number, buffer: ArrayBufferLike) => void;

/** The parts of fuse-native 2.2.6 that are used here; it comes without types and is not developed any more. */
export interface Fuse {
  mount(callback: Callback): void;
  unmount(callback: Callback): void;
}

/** Class of `Fuse`. */
export interface FuseClass {
  new (mountpoint: string, handlers: Handlers, options: Readonly<Record<string, unknown>>): Fuse;
}

interface NativeFuse extends Fuse {
  readonly ops: Record<string, (...args: unknown[]) => void>;
  _makeHandlerArray(): unknown[];
}
interface NativeFuseClass {
  new (mountpoint: string, handlers: Handlers, options: Readonly<Record<string, unknown>>): NativeFuse;
  unmount: (mountpoint: string, callback: Callback) => void;
}
interface Binding {
  readonly op_write: number;
  fuse_native_signal_write(request: unknown, result: number, bytes: number, buffer: ArrayBufferLike): void;
}

/**
 * Loads fuse-native and replaces what it does badly or slowly:
 * - it unmounts through a shell; `unmount` takes its place;
 * - it answers a too small attribute buffer with a length beyond it, which makes libfuse read past its end; that is ERANGE;
 * - a write costs it five closures and a turn of the tick queue; here it is answered as soon as it is accepted.
 * @throws TriggerFsError TFS_MOUNT without libfuse
 */
export function loadFuse(unmount: (mountpoint: string) => Promise<void>): FuseClass {
  const { Native, binding } = load();
  // fuse-native calls the method of its own class, not of a derived one.
  Native.unmount = (mountpoint, callback) => {
    unmount(mountpoint).then(
      () => callback(null),
      (error: Error) => callback(error),
    );
  };
  return class extends Native {
    override _makeHandlerArray(): unknown[] {
      const handlers = super._makeHandlerArray();
      handlers[binding.op_write] = writeHandler(this, binding);
      return handlers;
    }

    _op_getxattr(signal: Signal, path: string, name: string, target: Buffer): void {
      this.ops.getxattr?.(path, name, (result: number, value: Buffer | undefined) => signal(fill(target, result, value), target.buffer));
    }

    _op_listxattr(signal: Signal, path: string, target: Buffer): void {
      this.ops.listxattr?.(path, (result: number, names: readonly string[] | undefined) => {
        const list = Buffer.from(names?.map((name) => `${name}\0`).join('') ?? '');
        signal(fill(target, result, list), target.buffer);
      });
    }
  };
}

/** Answers before it returns, and never twice. After the signal the buffer is gone. */
function writeHandler(fuse: NativeFuse, binding: Binding): (...args: unknown[]) => void {
  let bytes = 0;
  const reply: Reply = (result) => {
    bytes = result;
  };
  return (request, _operation, path, handle, buffer, length) => {
    fuse.ops.write?.(path, handle, buffer, length, 0, reply);
    binding.fuse_native_signal_write(request, bytes, bytes, (buffer as Buffer).buffer);
  };
}

function load(): { Native: NativeFuseClass; binding: Binding } {
  try {
    const require = createRequire(import.meta.url);
    const file = require.resolve('fuse-native');
    const buildOf = createRequire(file)('node-gyp-build') as (folder: string) => Binding;
    return { Native: require(file) as NativeFuseClass, binding: buildOf(dirname(file)) };
  } catch (cause) {
    throw new TriggerFsError('TFS_MOUNT', `cannot load libfuse: ${(cause as Error).message}`, { cause });
  }
}

function fill(target: Buffer, result: number, value: Buffer | undefined): number {
  if (result < 0 || value === undefined) return result;
  // An empty target asks for the size.
  if (target.length === 0) return value.length;
  if (target.length < value.length) return errnoNumber('ERANGE');
  return value.copy(target);
}
