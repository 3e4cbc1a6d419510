import { constants } from 'node:os';
import type { Log } from '../runtime/logging.ts';
import { errnoName, errnoNumber } from './errno.ts';
import type { Operations } from './operations/index.ts';

/** How fuse-native is answered: 0, a number of bytes, or a negative error number; and the value, if there is one. */
export type Reply = (result: number, value?: unknown) => void;

/** A handler as fuse-native calls it: the arguments of the system call, the reply last. */
export type Handler = (...args: never[]) => void;

/** ENOATTR of macOS has no name in Node. */
const NO_ATTRIBUTE = process.platform === 'darwin' ? -93 : -constants.errno.ENODATA;

/** Wraps operations as handlers: each request is answered exactly once, with an error number where the operation throws. */
export function handlersOf(operations: Operations, log: Log): Readonly<Record<string, Handler>> {
  const failed = (call: string, thrown: unknown): number => {
    const name = errnoName(thrown);
    if (name === null) log.error({ err: thrown }, `${call} failed unexpectedly`);
    else if (name !== 'ENOENT') log.debug(`${call}: ${name}: ${(thrown as Error).message}`);
    return errnoNumber(name ?? 'EIO');
  };
  const value = <T>(call: string, reply: Reply, produce: () => T): void => {
    let produced: T;
    try {
      produced = produce();
    } catch (thrown) {
      reply(failed(call, thrown));
      return;
    }
    reply(0, produced);
  };
  const plain = (call: string, reply: Reply, act: () => void): void => value(call, reply, () => void act());
  const promised = (call: string, reply: Reply, act: () => Promise<void>): void => {
    act().then(
      () => reply(0),
      (thrown: unknown) => reply(failed(call, thrown)),
    );
  };
  const refused =
    (call: string) =>
    (...args: unknown[]): void =>
      plain(call, args.at(-1) as Reply, () => operations.refuse(call));

  return {
    getattr: (path: string, reply: Reply) => value('getattr', reply, () => operations.getattr(path)),
    readdir: (path: string, reply: Reply) => value('readdir', reply, () => operations.readdir(path)),
    statfs: (_path: string, reply: Reply) => value('statfs', reply, () => operations.statfs()),
    open: (path: string, flags: number, reply: Reply) => value('open', reply, () => operations.open(path, flags)),
    create: (path: string, _mode: number, reply: Reply) => value('create', reply, () => operations.create(path)),
    // The result of read and write is the number of bytes. They are the hot path: no closure for each call.
    write: (_path: string, handle: number, buffer: Buffer, length: number, _offset: number, reply: Reply) => {
      let result: number;
      try {
        result = operations.write(handle, buffer.length === length ? buffer : buffer.subarray(0, length));
      } catch (thrown) {
        result = failed('write', thrown);
      }
      reply(result);
    },
    read: (_path: string, handle: number, buffer: Buffer, length: number, offset: number, reply: Reply) => {
      try {
        const result = operations.read(handle, buffer.subarray(0, length), offset);
        if (typeof result === 'number') reply(result);
        else result.then(reply, (thrown: unknown) => reply(failed('read', thrown)));
      } catch (thrown) {
        reply(failed('read', thrown));
      }
    },
    flush: (_path: string, handle: number, reply: Reply) => plain('flush', reply, () => operations.flush(handle)),
    fsync: (_path: string, _dataOnly: number, handle: number, reply: Reply) => plain('fsync', reply, () => operations.fsync(handle)),
    release: (_path: string, handle: number, reply: Reply) => plain('release', reply, () => operations.release(handle)),
    truncate: (path: string, _size: number, reply: Reply) => plain('truncate', reply, () => operations.truncate(path)),
    utimens: (path: string, _atime: number, _mtime: number, reply: Reply) => plain('utimens', reply, () => operations.utimens(path)),
    chown: (path: string, uid: number, gid: number, reply: Reply) => plain('chown', reply, () => operations.chown(path, uid, gid)),
    chmod: (path: string, mode: number, reply: Reply) => promised('chmod', reply, () => operations.chmod(path, mode)),
    mkdir: (path: string, mode: number, reply: Reply) => promised('mkdir', reply, async () => operations.mkdir(path, mode)),
    rmdir: (path: string, reply: Reply) => promised('rmdir', reply, () => operations.rmdir(path)),
    rename: (from: string, to: string, reply: Reply) => promised('rename', reply, () => operations.rename(from, to)),
    getxattr: (path: string, name: string, reply: Reply) => attribute(reply, () => operations.getxattr(path, name), failed),
    listxattr: (path: string, reply: Reply) => value('listxattr', reply, () => operations.listxattr(path)),
    setxattr: (...args: unknown[]) => (args.at(-1) as Reply)(errnoNumber('EOPNOTSUPP')),
    removexattr: (...args: unknown[]) => (args.at(-1) as Reply)(errnoNumber('EOPNOTSUPP')),
    unlink: refused('unlink'),
    link: refused('link'),
    symlink: refused('symlink'),
    mknod: refused('mknod'),
  } as Readonly<Record<string, Handler>>;
}

/** A missing attribute is no error worth a log line: the kernel asks for security attributes all the time. */
function attribute(reply: Reply, produce: () => Buffer | undefined, failed: (call: string, thrown: unknown) => number): void {
  let produced: Buffer | undefined;
  try {
    produced = produce();
  } catch (thrown) {
    reply(failed('getxattr', thrown));
    return;
  }
  if (produced === undefined) reply(NO_ATTRIBUTE);
  else reply(0, produced);
}
