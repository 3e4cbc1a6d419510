import assert from 'node:assert/strict';
import { fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { libfuseEnvironment } from '../../fs/libfuse.ts';
import { Place } from '../../fs/private/place.ts';
import { childEnvironment } from '../../runtime/environment.ts';
import { until } from '../support/wait.ts';
import { isMounted, noFuse, shell, World } from './support/mounted.ts';

const lines = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `${from + i}\n`);

test('what was written without a broker outlasts kill -9 and is sent once and in order', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  world.broker.kill();
  const mounted = await world.mount();
  const file = await open(mounted.path('/demo/x'), 'w');
  for (const line of lines(0, 2000)) await file.write(line);
  await mounted.kill();
  await assert.rejects(file.write('dead'), { code: 'ENOTCONN' });
  await file.close().catch(() => undefined);
  await world.broker.open();
  await mounted.start();
  assert.equal((await shell(mounted, 'echo 2000 > $M/demo/x')).code, 0);
  await until(() => world.delivered().length >= 2001, { what: 'all messages' });
  assert.deepEqual(world.delivered(), lines(0, 2001));
  assert.equal(world.broker.requests.length, 2001, 'none was sent twice');
  assert.equal(world.broker.requests[0]?.resume, true);
});

test('the supervisor mounts again within 5 s when the mounting process is killed', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const mounted = await world.mount();
  const file = await open(mounted.path('/demo/x'), 'w');
  await file.write('before\n');
  const [, daemon] = mounted.pids;
  process.kill(daemon, 'SIGKILL');
  await assert.rejects(async () => {
    for (;;) {
      await file.write('x');
      await sleep(1);
    }
  }, /ENOTCONN|ECONNABORTED/);
  await file.close().catch(() => undefined);
  const start = performance.now();
  await mounted.ready(2);
  assert.ok(performance.now() - start < 5_000);
  await shell(mounted, 'echo after > $M/demo/x');
  await until(() => world.delivered().includes('after\n'), { what: 'the message after the restart' });
  assert.equal(world.delivered()[0], 'before\n');
});

test('a broker that is killed and comes back costs no message and no order', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const executed: string[] = [];
  const known = new Set<string>();
  // Like a worker: it knows the ids that it has executed.
  world.broker.onRequest = ({ peer, call, invocation, payload }) => {
    if (!known.has(invocation)) executed.push(String(payload));
    known.add(invocation);
    peer.result(call);
  };
  const mounted = await world.mount();
  const file = await open(mounted.path('/demo/x'), 'w');
  for (let round = 0; round < 3; round += 1) {
    for (const line of lines(round * 1000, round * 1000 + 500)) await file.write(line);
    world.broker.kill();
    for (const line of lines(round * 1000 + 500, round * 1000 + 1000)) await file.write(line);
    await world.broker.open();
  }
  await file.close();
  await until(() => executed.length >= 3000, { timeoutMs: 20_000, what: 'all messages' });
  assert.deepEqual(executed, lines(0, 3000));
});

test('SIGTERM with open files and messages on their way: unmounted within 10 s, nothing lost', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  world.api.trigger('/demo/close', { framing: 'close' });
  world.broker.onRequest = () => undefined;
  const mounted = await world.mount({ settings: 'window = 10' });
  const file = await open(mounted.path('/demo/x'), 'w');
  const half = await open(mounted.path('/demo/close'), 'w');
  for (const line of lines(0, 100)) await file.write(line);
  await half.write('half a command');
  const start = performance.now();
  assert.equal(await mounted.stop(), 0);
  assert.ok(performance.now() - start < 10_000);
  assert.equal(isMounted(mounted.mountpoint), false);
  await file.close().catch(() => undefined);
  await half.close().catch(() => undefined);
  world.broker.onRequest = ({ peer, call }) => peer.result(call);
  await mounted.start();
  await until(() => world.delivered().length >= 100, { what: 'all messages' });
  assert.deepEqual(world.delivered(), lines(0, 100));
  const database = new DatabaseSync(join(mounted.folder, 'spool', 'demo', 'spool.db'), { readOnly: true });
  const letters = database.prepare('select reason, payload from dead_letters').all();
  database.close();
  assert.equal(letters.length, 1);
  assert.equal(String(Buffer.from(letters[0]?.payload as Uint8Array)), 'half a command');
});

test('a disk full of messages refuses more, loses none of them, and is waited for', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const folder = join(world.folder, 'small');
  mkdirSync(folder);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1500k', 'tmpfs', folder]).status, 0);
  try {
    const mounted = await world.mount({ folder, mountpoint: join(world.folder, 'mount') });
    world.broker.kill();
    const file = await open(mounted.path('/demo/x'), 'w');
    const accepted: string[] = [];
    const fill = async (): Promise<never> => {
      for (;;) {
        const line = `${accepted.length} ${'x'.repeat(1000)}\n`;
        await file.write(line);
        accepted.push(line);
      }
    };
    await assert.rejects(fill, { code: 'ENOSPC' });
    assert.ok(accepted.length > 500, `${accepted.length} messages`);
    process.kill(mounted.pids[1], 'SIGKILL');
    await until(() => mounted.stderr.includes('TFS_SPOOL_FULL'), { what: 'the reason why it cannot start' });
    await file.close().catch(() => undefined);
    spawnSync('mount', ['-o', 'remount,size=16m', folder]);
    await mounted.ready(2);
    await world.broker.open();
    await until(() => world.delivered().length >= accepted.length, { what: 'all messages' });
    assert.deepEqual(world.delivered(), accepted);
    assert.equal(await mounted.stop(), 0);
  } finally {
    spawnSync('umount', ['-l', folder]);
  }
});

test('a mount that a killed process left is cleaned up, even while someone sits in it', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const mounted = await world.mount();
  const guest = spawn('sleep', ['60'], { cwd: mounted.path('/demo') });
  await mounted.kill();
  assert.ok(isMounted(mounted.mountpoint), 'the dead mount is still there');
  await assert.rejects(stat(mounted.mountpoint), { code: 'ENOTCONN' });
  await mounted.start();
  assert.deepEqual(await readdir(mounted.path('/demo')), ['x']);
  guest.kill('SIGKILL');
  await once(guest, 'exit');
});

test('a mounting process that hangs while it should stop is killed, and leaves no mount', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  const [supervisor, daemon] = mounted.pids;
  process.kill(daemon, 'SIGSTOP');
  process.kill(supervisor, 'SIGTERM');
  await until(() => !existsSync(`/proc/${supervisor}`), { timeoutMs: 20_000, what: 'the end of the supervisor' });
  assert.equal(existsSync(`/proc/${daemon}`), false);
  assert.equal(isMounted(mounted.mountpoint), false);
});

test('the mount ends with its supervisor, whatever killed that', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  const [supervisor, daemon] = mounted.pids;
  process.kill(supervisor, 'SIGKILL');
  await until(() => !isMounted(mounted.mountpoint) && !existsSync(`/proc/${daemon}`), { what: 'mount and process are gone' });
});

test('SIGTERM right after the mounting process was killed leaves no dead mount', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  const [supervisor, daemon] = mounted.pids;
  process.kill(daemon, 'SIGKILL');
  process.kill(supervisor, 'SIGTERM');
  await until(() => !existsSync(`/proc/${supervisor}`), { what: 'the end of the supervisor' });
  assert.equal(isMounted(mounted.mountpoint), false);
  assert.deepEqual(await readdir(mounted.mountpoint), []);
});

test('a parent with a channel that dies takes the mount with it, at any time', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const settings = `[main]\napi = "${world.api.url}"\nteam = "demo"\nidentity = "demo"\nsecret = "secret"\n`;
  for (const when of ['at once', 'before it is ready', 'when it is ready']) {
    const mountpoint = join(world.folder, when);
    const bin = new URL('../../fs/bin.ts', import.meta.url).pathname;
    const args = ['-config', '-', '-mountpoint', mountpoint, '-private', join(world.folder, 'private'), '-json'];
    const child = spawn(process.execPath, [bin, ...args], { stdio: ['pipe', 'pipe', 'pipe', 'ipc'] });
    // Slowly: it waits for all of it.
    child.stdin?.write(settings.slice(0, 10));
    setTimeout(() => child.stdin?.end(settings.slice(10)), 500);
    let printed = '';
    const read = (data: Buffer): void => {
      printed += String(data);
    };
    child.stdout?.on('data', read);
    if (when === 'before it is ready') await until(() => isMounted(mountpoint) || printed.includes('login'), { what: 'it begins' });
    if (when === 'when it is ready') await until(() => printed.includes('"ready"'), { what: 'it is ready' });
    // A dead process neither reads nor is told anything.
    child.stdin?.on('error', () => undefined);
    child.stdout?.destroy();
    child.stderr?.destroy();
    child.disconnect();
    await once(child, 'exit');
    assert.equal(isMounted(mountpoint), false, when);
    assert.equal(existsSync(mountpoint), false, when);
  }
  assert.deepEqual(Place.all(join(world.folder, 'private')), []);
});

test('a hung mount is cleaned up as well', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  const [supervisor, daemon] = mounted.pids;
  // Stopped, not dead: whoever touches the mount waits.
  process.kill(supervisor, 'SIGSTOP');
  process.kill(daemon, 'SIGSTOP');
  const folder = join(world.folder, 'second');
  mkdirSync(folder);
  try {
    const second = await world.mount({ folder, mountpoint: mounted.mountpoint });
    assert.deepEqual(await readdir(second.mountpoint), ['demo']);
    await second.stop();
  } finally {
    process.kill(daemon, 'SIGKILL');
    process.kill(supervisor, 'SIGKILL');
  }
});

test('mounting and unmounting under load 20 times leaves no mount and no thread behind', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mountpoint = join(world.folder, 'cycles');
  mkdirSync(mountpoint);
  const child = fork(new URL('./support/mount-cycles.ts', import.meta.url), [join(world.folder, 'spool'), mountpoint, '20'], {
    env: childEnvironment(libfuseEnvironment(world.folder)),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let errors = '';
  child.stderr?.on('data', (data) => {
    errors += String(data);
  });
  t.after(() => child.kill('SIGKILL'));
  assert.deepEqual(await once(child, 'exit'), [0, null], errors);
  assert.equal(isMounted(mountpoint), false);
  assert.deepEqual(readdirSync(mountpoint), []);
});

test('a mount point may have any name, and none of it reaches a shell', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const name = '$(touch pwned) "; touch pwned; \' größer\\';
  const mounted = await world.mount({ mountpoint: join(world.folder, `${name}/`) });
  assert.equal((await shell(mounted, 'echo x > "$M/demo/x"')).code, 0);
  await mounted.kill();
  await mounted.start();
  assert.equal(await mounted.stop(), 0, mounted.stderr);
  assert.equal(isMounted(join(world.folder, name)), false);
  assert.equal(existsSync('pwned') || existsSync(join(world.folder, 'pwned')), false);
});

test('what is in the way of a mount is said in one line', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  const full = join(world.folder, 'full');
  mkdirSync(full);
  writeFileSync(join(full, 'file'), '');
  const folder = join(world.folder, 'second');
  mkdirSync(folder);
  const foreign = join(world.folder, 'foreign');
  mkdirSync(foreign);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', foreign]).status, 0);
  const cases: [mountpoint: string, reason: RegExp][] = [
    [full, /the directory is not empty \(TFS_MOUNT\)/],
    [join(full, 'file'), /TFS_MOUNT/],
    [mounted.mountpoint, /another triggerfs process serves it/],
    [join(mounted.mountpoint, 'demo'), /lies inside the mount/],
    [foreign, /another file system \(tmpfs\) is mounted there/],
    [world.folder, /triggerfs itself needs .* inside the mount/],
  ];
  try {
    for (const [mountpoint, reason] of cases) await assert.rejects(world.mount({ folder, mountpoint }), reason);
  } finally {
    spawnSync('umount', [foreign]);
  }
  assert.deepEqual(await readdir(mounted.mountpoint), ['demo'], 'the one that was there goes on');
});

test('wrong credentials, a wrong option and a wrong key end the program with their exit code', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  await mounted.stop();
  const config = join(world.folder, 'triggerfs.toml');
  const run = async (...args: string[]): Promise<{ code: number | null; text: string }> => {
    const bin = new URL('../../fs/bin.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [bin, ...args]);
    let text = '';
    child.stderr.on('data', (data) => {
      text += String(data);
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, text };
  };
  assert.equal((await run('-nonsense')).code, 64);
  writeFileSync(config, readFileSync(config, 'utf8').replace('"secret"', '"wrong"'));
  const refused = await run('-config', config);
  assert.equal(refused.code, 77, refused.text);
  assert.match(refused.text, /TFS_BAD_CREDENTIALS/);
  writeFileSync(config, '[triggerfs]\nmountpiont = "x"\n');
  const misspelt = await run('-config', config);
  assert.equal(misspelt.code, 78);
  assert.match(misspelt.text, /triggerfs\.toml:2: triggerfs\.mountpiont: unknown key/);
});

test('a second process on the same spool is refused', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  await world.mount();
  await assert.rejects(world.mount({ mountpoint: join(world.folder, 'other') }), /in use by another triggerfs process/);
  assert.equal(spawnSync('mountpoint', ['-q', join(world.folder, 'other')]).status === 0, false);
});
