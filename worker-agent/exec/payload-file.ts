import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Linux: a file without a name. Node.js has no constant for it. */
const O_TMPFILE = 0o20200000;
const MODE = 0o644;
const MEMORY_FOLDER = '/dev/shm';

let counter = 0;

/** A payload as a file, for a process's standard input. */
export interface PayloadFile {
  /** Where another process opens it. */
  readonly path: string;
  /** The file is not needed any more, here. Who has opened it keeps it. */
  readonly release: () => void;
}

/**
 * Puts a payload into a file: it never blocks, needs no writer, and `/dev/stdin` can be opened again.
 * It has no name and stays in memory where the system has a folder for that, and room in it.
 * @throws Error of the system when there is no space or no descriptor
 */
export function createPayloadFile(payload: Buffer): PayloadFile {
  if (payload.length === 0) return { path: '/dev/null', release: () => undefined };
  if (process.platform === 'linux') {
    for (const folder of [MEMORY_FOLDER, tmpdir()]) {
      try {
        const fd = fill(openSync(folder, O_TMPFILE | constants.O_RDWR, MODE), payload);
        return { path: `/proc/${process.pid}/fd/${fd}`, release: () => closeSync(fd) };
      } catch {
        // Not every file system has nameless files, and the one in memory may be full: the next way is tried.
      }
    }
  }
  counter += 1;
  const path = join(tmpdir(), `triggerfs-payload-${process.pid}-${counter}`);
  closeSync(fill(openSync(path, 'wx+', MODE), payload));
  return { path, release: () => unlinkSync(path) };
}

function fill(fd: number, payload: Buffer): number {
  try {
    for (let at = 0; at < payload.length; ) at += writeSync(fd, payload, at);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Whether an error says that the machine, not the request, is the reason: out of descriptors, processes or memory. */
export function isExhausted(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EMFILE' || code === 'ENFILE' || code === 'EAGAIN' || code === 'ENOMEM' || code === 'ENOSPC';
}
