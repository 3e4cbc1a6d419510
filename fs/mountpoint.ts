import { existsSync, mkdirSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { TriggerFsError } from '../protocol/errors.ts';
import { environment } from '../runtime/environment.ts';
import type { Log } from '../runtime/logging.ts';
import { runChild } from './child-program.ts';
import { findProgram } from './libfuse.ts';
import { readMountTable } from './mount-table.ts';

const PROBE_MS = 1_000;
const UNMOUNT_MS = 5_000;
/** fuse-native copies the path into a buffer of 1024 bytes. */
const MAX_PATH_BYTES = 1000;
/** The source that our mounts have in the mount table. */
const SOURCE = 'triggerfs';

/**
 * Makes a directory ready to be mounted on and returns its real path. What a killed process left there is cleaned up.
 * `keepOut` are paths this process uses itself: inside its own mount it would wait for itself for ever.
 * @throws TriggerFsError TFS_MOUNT saying what is in the way and what to do
 */
export async function prepareMountpoint(wanted: string, keepOut: readonly string[], log: Log): Promise<string> {
  checkSystem();
  const mountpoint = realPath(resolve(wanted));
  if (Buffer.byteLength(mountpoint) > MAX_PATH_BYTES) refuse(mountpoint, `the path is longer than ${MAX_PATH_BYTES} bytes`);
  if (mountpoint === '/') refuse(mountpoint, 'this is the root directory');
  const outer = readMountTable().find((entry) => entry.source === SOURCE && mountpoint.startsWith(`${entry.mountpoint}/`));
  if (outer !== undefined) refuse(mountpoint, `it lies inside the mount ${outer.mountpoint}`);
  const inside = keepOut.map(realPath).find((path) => path === mountpoint || path.startsWith(`${mountpoint}/`));
  if (inside !== undefined) refuse(mountpoint, `triggerfs itself needs ${inside}, which would be inside the mount`);
  await cleanUp(mountpoint, log);
  makeEmptyDirectory(mountpoint);
  return mountpoint;
}

/**
 * Detaches a mount: cleanly if nobody uses it, otherwise (or at once) lazily: open files work until they are closed.
 * Runs umount or fusermount without a shell, whatever the path looks like.
 * @throws Error of the program that failed
 */
export async function detach(mountpoint: string, lazily = false): Promise<void> {
  if (process.platform === 'darwin') return runChild('umount', ['-f', mountpoint], UNMOUNT_MS);
  const helper = findProgram('fusermount', environment().path) === null ? 'fusermount3' : 'fusermount';
  const attempts: [string, string[]][] =
    process.getuid?.() === 0
      ? [
          ['umount', [mountpoint]],
          ['umount', ['-l', mountpoint]],
        ]
      : [
          [helper, ['-u', mountpoint]],
          [helper, ['-uz', mountpoint]],
        ];
  let failure: unknown;
  for (const [program, args] of lazily ? attempts.slice(1) : attempts) {
    try {
      return await runChild(program, args, UNMOUNT_MS);
    } catch (error) {
      failure = error;
    }
  }
  if (isMounted(mountpoint)) throw failure;
}

/** Whether something is mounted exactly there. */
export function isMounted(mountpoint: string): boolean {
  return readMountTable().some((entry) => entry.mountpoint === mountpoint);
}

/** Whether triggerfs is mounted there, alive or dead. */
export function isOurs(mountpoint: string): boolean {
  return topEntry(mountpoint)?.source === SOURCE;
}

/** Removes a mount whose process has died, also while somebody sits in it; one that answers stays. @throws Error of umount */
export async function removeDead(mountpoint: string): Promise<void> {
  if (isOurs(mountpoint) && !(await answers(mountpoint))) await detach(mountpoint, true);
}

function checkSystem(): void {
  if (process.platform !== 'linux') return;
  if (!existsSync('/dev/fuse')) {
    throw new TriggerFsError('TFS_MOUNT', 'there is no /dev/fuse: load the kernel module fuse, or give the container --device /dev/fuse');
  }
  if (process.getuid?.() !== 0 && findProgram('fusermount', environment().path) === null) {
    throw new TriggerFsError('TFS_MOUNT', 'fusermount is missing: install the package fuse3 (or fuse), for example: apt-get install fuse3');
  }
}

/** What is mounted there from an earlier run goes; anything that answers stays and is in the way. */
async function cleanUp(mountpoint: string, log: Log): Promise<void> {
  for (let entry = topEntry(mountpoint); entry !== undefined; entry = topEntry(mountpoint)) {
    if (entry.source !== SOURCE) refuse(mountpoint, `another file system (${entry.type}) is mounted there`);
    if (await answers(mountpoint)) refuse(mountpoint, 'another triggerfs process serves it');
    log.warn(`cleaning up the mount that an earlier process left at ${mountpoint}`);
    try {
      await detach(mountpoint, true);
    } catch (cause) {
      refuse(mountpoint, `the mount that an earlier process left cannot be removed: ${(cause as Error).message}`);
    }
  }
}

function topEntry(mountpoint: string): ReturnType<typeof readMountTable>[number] | undefined {
  return readMountTable().findLast((entry) => entry.mountpoint === mountpoint);
}

/** Asks from a child process, because whoever touches a hung mount hangs with it. */
function answers(mountpoint: string): Promise<boolean> {
  return runChild('stat', [mountpoint], PROBE_MS).then(
    () => true,
    () => false,
  );
}

function makeEmptyDirectory(mountpoint: string): void {
  try {
    mkdirSync(mountpoint, { recursive: true });
    if (!statSync(mountpoint).isDirectory()) throw new Error('it is not a directory');
    if (readdirSync(mountpoint).length > 0) throw new Error('the directory is not empty');
  } catch (cause) {
    refuse(mountpoint, (cause as Error).message);
  }
}

/** Resolves links without touching what is mounted: a stale mount must not be looked at. The path may be missing. */
export function realPath(path: string): string {
  const absolute = resolve(path);
  const parent = dirname(absolute);
  if (parent === absolute) return absolute;
  try {
    const path = join(realpathSync(parent), basename(absolute));
    return isMounted(path) ? path : realpathSync(path);
  } catch {
    return join(realPath(parent), basename(absolute));
  }
}

function refuse(mountpoint: string, reason: string): never {
  throw new TriggerFsError('TFS_MOUNT', `cannot mount on ${mountpoint}: ${reason}`);
}
