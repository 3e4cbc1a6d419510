import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Linux: a file without a name. Node.js has no constant for it. */
const O_TMPFILE = 0o20200000;
const MODE = 0o644;
const MEMORY_FOLDER = '/dev/shm';

let counter = 0;

/**
 * Puts a payload into a nameless file and returns a descriptor at its beginning, for a child's standard input; close it
 * here once the child has it. A file never blocks, needs no writer, and `/dev/stdin` can be opened again.
 * It stays in memory where the system has a folder for that, and room in it.
 * @throws Error of the system when there is no space or no descriptor
 */
export function openPayload(source: Buffer, start: number, end: number): number {
  if (start === end) return openSync('/dev/null', 'r');
  if (process.platform === 'linux') {
    for (const folder of [MEMORY_FOLDER, tmpdir()]) {
      try {
        return fill(openSync(folder, O_TMPFILE | constants.O_RDWR, MODE), source, start, end);
      } catch {
        // Not every file system has nameless files, and the one in memory may be full: the next way is tried.
      }
    }
  }
  counter += 1;
  const path = join(tmpdir(), `triggerfs-payload-${process.pid}-${counter}`);
  const fd = openSync(path, 'wx+', MODE);
  unlinkSync(path);
  return fill(fd, source, start, end);
}

/** Writes without moving the file's position. */
function fill(fd: number, source: Buffer, start: number, end: number): number {
  try {
    for (let at = start; at < end; ) at += writeSync(fd, source, at, end - at, at - start);
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
