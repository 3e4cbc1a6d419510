import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Inheritance } from '../../fs/private/inheritance.ts';
import { Place, type SpoolOwner } from '../../fs/private/place.ts';
import type { Message } from '../../fs/spool/message.ts';
import { Spool } from '../../fs/spool/spool.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { lastFirst } from '../support/last-first.ts';

const OWNER: SpoolOwner = { api: 'http://127.0.0.1:1', team: 'demo', identity: 'demo' };
const LIMIT_BYTES = 1e9;
/** What the spool counts for a message beside its payload. */
const OVERHEAD_BYTES = 64;

function rootFolder(t: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-private-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Shell {
  readonly place: Place;
  readonly spool: Spool;
  readonly inheritance: Inheritance;
  /** Ends it as a process ends that cannot tidy up any more. */
  die(): void;
}

function shell(t: Pick<TestContext, 'after'>, root: string, options: { owner?: SpoolOwner; limitBytes?: number } = {}): Shell {
  const { owner = OWNER, limitBytes = LIMIT_BYTES } = options;
  const mountpoint = mkdtempSync(join(tmpdir(), 'triggerfs-private-mount-'));
  t.after(() => rmSync(mountpoint, { recursive: true, force: true }));
  const place = Place.make(root, owner, mountpoint);
  const log = silentLogger();
  const spool = Spool.open({ folder: join(place.spool, owner.team), limitBytes, log, onAccepted: () => undefined });
  const die = (): void => {
    spool.close();
    place.release();
  };
  t.after(die);
  return { place, spool, inheritance: new Inheritance({ root, owner, own: place.folder, spool, log }), die };
}

function write({ spool }: Shell, trigger: number, from: number, to: number): void {
  for (let i = from; i < to; i += 1) {
    spool.message(trigger, Buffer.from(`m${i}`), 0);
    spool.commit(false);
  }
}

function takeAll({ spool }: Shell, trigger: number): Message[] {
  const messages: Message[] = [];
  for (let message = spool.next(trigger); message !== null; message = spool.next(trigger)) messages.push(message);
  return messages;
}

const texts = (messages: readonly Message[]): string[] => messages.map(({ payload }) => String(payload));
const names = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `m${from + i}`);

test('what dead shells left is taken over in order, with its ids, and nothing of it stays', async (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  const dead = [shell(t, root), shell(t, root)] as const;
  write(dead[0], 1, 0, 2500);
  write(dead[0], 2, 0, 3);
  write(dead[1], 1, 2500, 2600);
  const ids = takeAll(dead[0], 2).map(({ invocation }) => String(invocation));
  for (const { die } of dead) die();
  const heir = shell(t, root);
  assert.equal(await heir.inheritance.look(), 2603);
  write(heir, 1, 2600, 2601);
  const messages = takeAll(heir, 1);
  assert.deepEqual(texts(messages), names(0, 2601));
  assert.deepEqual([messages[0]?.resume, messages.at(-2)?.resume, messages.at(-1)?.resume], [true, true, false]);
  assert.deepEqual(
    takeAll(heir, 2).map(({ invocation }) => String(invocation)),
    ids,
  );
  assert.deepEqual(Place.all(root), [heir.place.folder]);
  assert.deepEqual(
    dead.map(({ place }) => existsSync(place.folder)),
    [false, false],
  );
});

test('messages beyond memory that were taken over stay marked as possibly sent', async (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  const dead = shell(t, root);
  const heir = shell(t, root);
  // So many that the rest is read from the database again.
  write(heir, 1, 0, 33_000);
  write(dead, 1, 33_000, 33_010);
  dead.die();
  assert.equal(await heir.inheritance.look(), 10);
  write(heir, 1, 33_010, 33_011);
  const messages = takeAll(heir, 1);
  assert.deepEqual(texts(messages), names(0, 33_011));
  assert.deepEqual(
    messages.filter(({ resume }) => resume).map(({ payload }) => String(payload)),
    names(33_000, 33_010),
  );
});

test('a living shell, another person’s messages and foreign folders are left alone', async (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  const living = shell(t, root);
  write(living, 1, 0, 1);
  const stranger = shell(t, root, { owner: { ...OWNER, identity: 'other' } });
  write(stranger, 1, 1, 2);
  stranger.die();
  const finished = shell(t, root, { owner: { ...OWNER, team: 'third' } });
  finished.die();
  const foreign = join(root, 'notes', 'of mine');
  mkdirSync(foreign, { recursive: true });
  const heir = shell(t, root);
  assert.equal(await heir.inheritance.look(), 0);
  assert.deepEqual(Place.all(root).toSorted(), [living, stranger, heir].map(({ place }) => place.folder).toSorted());
  assert.ok(existsSync(foreign));
  assert.deepEqual(texts(takeAll(living, 1)), ['m0']);
  // Its mount is gone nevertheless, with its folder.
  const seized = Place.seize(stranger.place.folder);
  assert.equal(seized?.mountpoint, null);
  seized?.release();
});

test('a mounting process that outlives its supervisor keeps its messages until it ends', async (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  const orphan = shell(t, root);
  write(orphan, 1, 0, 1);
  orphan.place.release();
  const heir = shell(t, root);
  assert.equal(await heir.inheritance.look(), 0);
  assert.ok(existsSync(orphan.place.mountpoint ?? ''), 'its mount is not touched');
  orphan.spool.close();
  assert.equal(await heir.inheritance.look(), 1);
  assert.deepEqual(texts(takeAll(heir, 1)), ['m0']);
});

test('what has no room waits where it is, and follows when there is some', async (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  const dead = shell(t, root);
  write(dead, 1, 0, 10);
  dead.die();
  const heir = shell(t, root, { limitBytes: 10 * (OVERHEAD_BYTES + 2) + 5 });
  write(heir, 2, 0, 1);
  assert.equal(await heir.inheritance.look(), 0);
  assert.deepEqual(takeAll(heir, 1), []);
  for (const message of takeAll(heir, 2)) heir.spool.done(message);
  assert.equal(await heir.inheritance.look(), 10);
  assert.deepEqual(texts(takeAll(heir, 1)), names(0, 10));
});

test('a disk without room for a spool is said, and nothing half made stays', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', root]).status, 0);
  t.after(() => spawnSync('umount', [root]));
  writeFileSync(join(root, 'full'), 'x'.repeat(4096));
  assert.throws(() => Place.make(root, OWNER, '/nowhere'), { code: 'TFS_SPOOL_FULL', message: /ENOSPC/ });
  const owners = readdirSync(root).filter((name) => name !== 'full');
  assert.deepEqual(
    owners.flatMap((owner) => readdirSync(join(root, owner))),
    [],
  );
});

test('of two heirs one gets everything', async (context) => {
  const t = lastFirst(context);
  const root = rootFolder(t);
  const heirs = [shell(t, root), shell(t, root)] as const;
  for (let round = 0; round < 20; round += 1) {
    const dead = shell(t, root);
    write(dead, 1, round * 10, round * 10 + 10);
    dead.die();
    await Promise.all(heirs.map(({ inheritance }) => inheritance.look()));
  }
  const all = heirs.flatMap((heir) => texts(takeAll(heir, 1)));
  assert.equal(all.length, 200);
  assert.deepEqual(new Set(all), new Set(names(0, 200)));
  assert.deepEqual(readdirSync(join(root, readdirSync(root)[0] ?? '')).length, 2, 'no remains');
});
