import assert from 'node:assert/strict';
import { mkdirSync, statfsSync } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import { isMounted, noFuse, shell, World } from './support/mounted.ts';

test('what is written to a trigger file is run, and its answer is read from the file', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/command', { plugin: 'command/command' });
  const mounted = await world.mount({ settings: 'logfile = "./triggerfs.log"' });
  const { code } = await shell(mounted, 'echo uptime > $M/demo/command');
  assert.equal(code, 0);
  assert.equal(await readFile(mounted.path('/demo/command'), 'utf8'), 'uptime\n', 'the read waits for the answer');
  await until(() => mounted.printed.includes('[command/command@demo01] uptime'), { what: 'the answer on the terminal' });
  await until(() => mounted.printed.some((line) => /\/demo\/command: ok \(exit code 0, 1\.234ms\)$/.test(line)), { what: 'the verdict' });
  assert.equal(world.broker.requests[0]?.route.service, 'demo');
  assert.equal(world.broker.requests[0]?.route.plugin, 'command/command');
  assert.equal(world.broker.requests[0]?.route.trigger, world.api.triggers[0]?.id, 'hits are counted for the trigger');
  const banner = mounted.printed.slice(0, 3);
  assert.match(banner[0] as string, /^triggerfs \(v\d+\.\d+\.\d+\)$/);
  assert.equal(banner[1], '***** Welcome to triggerFS. A realtime messaging and distributed trigger system. ***');
  assert.match(banner[2] as string, /=== triggerfs module started ===$/);
  assert.match(mounted.printed.join('\n'), /Successful login as demo in team demo/);
  assert.doesNotMatch(mounted.printed.join('\n') + mounted.stderr, /secret"/);
  assert.equal(await mounted.stop(), 0);
  assert.equal(isMounted(mounted.mountpoint), false);
  const log = await readFile(join(mounted.folder, 'triggerfs.log'), 'utf8');
  assert.match(log, /^\[command\/command@demo01\] uptime$/m);
});

test('attributes are as documented: size 0, modes of the tree, the spool as free space', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x', { mode: 0o640 });
  const mounted = await world.mount({ settings: 'spool_limit = "100MiB"' });
  assert.deepEqual(await readdir(mounted.mountpoint), ['demo']);
  assert.deepEqual(await readdir(mounted.path('/demo')), ['x']);
  const file = await stat(mounted.path('/demo/x'));
  assert.equal(file.mode, 0o100640);
  assert.equal(file.size, 0);
  assert.equal(file.uid, process.getuid?.());
  assert.equal((await stat(mounted.path('/demo'))).mode, 0o040775);
  const { bsize, blocks, bavail } = statfsSync(mounted.mountpoint);
  assert.equal(bsize * blocks, 100 * 1024 * 1024);
  assert.equal(bavail, blocks);
});

test('metadata never fires', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  world.api.trigger('/demo/unset', { plugin: null, service: null });
  const mounted = await world.mount();
  const commands = [
    'ls -laR $M',
    'stat $M/demo/x',
    'find $M -type f',
    'touch $M/demo/x $M/demo/unset',
    'touch -d yesterday $M/demo/x',
    'du -a $M',
    'cat $M/demo/x',
    'grep -r anything $M || true',
    ': > $M/demo/x',
    ': >> $M/demo/x',
    'truncate -s 0 $M/demo/x',
    'truncate -s 1G $M/demo/x',
    'printf "" > $M/demo/x',
    'empty=$(mktemp); chmod 644 $empty; cp -a $empty $M/demo/x; rm $empty',
    'tar -cf - -C $M . > /dev/null',
    'exec 3<>$M/demo/x; exec 3>&-',
    'test -w $M/demo/x',
    'file $M/demo/x > /dev/null 2>&1 || true',
  ];
  for (const command of commands) {
    const { code, output } = await shell(mounted, command);
    assert.equal(code, 0, `${command}: ${output}`);
  }
  await shell(mounted, 'echo last > $M/demo/x');
  await until(() => world.broker.requests.length > 0, { what: 'the one request' });
  assert.deepEqual(world.delivered(), ['last\n']);
});

test('everything that is no trigger is refused with a clear error, and fires nothing', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  world.api.trigger('/demo/unset', { plugin: null });
  world.api.directory('/empty');
  const mounted = await world.mount();
  const refused: [command: string, error: RegExp][] = [
    ['touch $M/demo/new', /Operation not permitted/],
    ['echo x > $M/demo/new', /Operation not permitted/],
    ['cp /etc/hostname $M/demo/', /Operation not permitted/],
    ['rm $M/demo/x', /Operation not permitted/],
    ['ln -s x $M/demo/link', /Operation not permitted/],
    ['ln $M/demo/x $M/demo/link', /Operation not permitted/],
    ['mkfifo $M/demo/fifo', /Operation not permitted/],
    ['sed -i s/a/b/ $M/demo/x', /Operation not permitted/],
    ['echo x > $M/demo/unset', /Invalid argument/],
    ['echo x > $M/demo/missing/y', /No such file or directory/],
    ['echo x > $M/demo', /Is a directory/],
    ['rmdir $M/demo', /Directory not empty/],
    ['rmdir $M/demo/x', /Not a directory/],
    ['rmdir $M/nothing', /No such file or directory/],
    ['mkdir $M/demo', /File exists/],
    ["mkdir $M/$'new\\nline'", /Invalid argument/],
    ["mkdir $M/$'esc\\e[0m'", /Invalid argument/],
    ["mkdir $M/$'\\xff\\xfe'", /Invalid argument/],
    ['mkdir $M/.hidden', /Invalid argument/],
    ['mkdir $M/$(printf "a%.0s" {1..256})', /File name too long/],
    ['mv -f $M/demo/x $M/demo/unset', /File exists/],
    ['mv $M/demo/x $M/x', /Operation not permitted/],
    ['chmod u+s $M/demo/x', /Operation not permitted/],
    ['chown 12345 $M/demo/x', /Operation not permitted/],
    ['mknod $M/demo/dev c 1 3', /Operation not permitted/],
    ['dd if=/dev/zero of=$M/demo/unset bs=10 count=1', /Invalid argument/],
  ];
  for (const [command, error] of refused) {
    const { code, output } = await shell(mounted, command);
    assert.notEqual(code, 0, `${command} succeeded`);
    assert.match(output, error, command);
  }
  assert.deepEqual((await readdir(mounted.path('/demo'))).sort(), ['unset', 'x']);
  const { code } = await shell(mounted, `mkdir $M/${'a'.repeat(255)}`);
  assert.equal(code, 0, '255 bytes are a name');
  assert.deepEqual(world.delivered(), []);
});

test('framing `write`: each write is a request, whatever its offset', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const mounted = await world.mount();
  const file = await open(mounted.path('/demo/x'), 'r+');
  await file.write('one\n', 1000);
  await file.write('two\n', 0);
  await file.write('');
  await file.close();
  await shell(mounted, 'echo three >> $M/demo/x; dd if=<(printf abcdef) of=$M/demo/x bs=1 status=none');
  await until(() => world.delivered().length === 9, { what: 'nine requests' });
  assert.deepEqual(world.delivered(), ['one\n', 'two\n', 'three\n', 'a', 'b', 'c', 'd', 'e', 'f']);
  const large = await open(mounted.path('/demo/x'), 'w');
  await large.write(Buffer.alloc(120 * 1024, 'a'));
  await large.write(Buffer.alloc(128 * 1024 + 1, 'b'));
  await large.close();
  await until(() => world.delivered().slice(9).join('').length === 248 * 1024 + 1, { what: 'the large requests' });
  // The kernel hands over 32 pages at most, one less when the buffer does not begin at a page.
  const [whole, ...pieces] = world.delivered().slice(9);
  assert.equal(whole, 'a'.repeat(120 * 1024));
  assert.equal(pieces.join(''), 'b'.repeat(128 * 1024 + 1));
});

test('framing `line`: lines are joined over writes, and the rest goes at the close', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x', { framing: 'line' });
  const mounted = await world.mount();
  const file = await open(mounted.path('/demo/x'), 'w');
  await file.write('one\ntwo\nthr');
  await until(() => world.delivered().length === 2, { what: 'two lines' });
  await file.write('ee\nfo');
  const long = `${'x'.repeat(200_000)}\n`;
  await file.write(`ur\n${long}rest`);
  await file.close();
  await until(() => world.delivered().length === 6, { what: 'all lines' });
  assert.deepEqual(world.delivered(), ['one\n', 'two\n', 'three\n', 'four\n', long, 'rest']);
  await shell(mounted, 'printf "größer €\\nnext\\n" | dd of=$M/demo/x bs=1 status=none');
  await until(() => world.delivered().length === 8, { what: 'lines written byte by byte' });
  assert.deepEqual(world.delivered().slice(6), ['größer €\n', 'next\n']);
});

test('framing `close`: everything until the last close is one request', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x', { framing: 'close' });
  const mounted = await world.mount();
  await shell(mounted, '(echo a; /bin/sleep 0.2; echo b; /bin/echo c) > $M/demo/x');
  await until(() => world.delivered().length === 1, { what: 'the request of the group' });
  const file = await open(mounted.path('/demo/x'), 'w');
  const body = Buffer.alloc(1_000_000, 'y');
  await file.write(body);
  await file.close();
  await until(() => world.delivered().length === 2, { what: 'the large request' });
  assert.equal(world.delivered()[0], 'a\nb\nc\n');
  assert.equal(world.delivered()[1], body.toString());
  await shell(mounted, 'sleep 30 3>$M/demo/x & PID=$!; exec 3>$M/demo/x; echo held >&3; exec 3>&-; disown; kill $PID');
  await until(() => world.delivered().length === 3, { what: 'the request of a file that was closed' });
  assert.equal(world.delivered()[2], 'held\n');
});

test('a message beyond the limit is EFBIG, and half of it is never sent', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/close', { framing: 'close' });
  world.api.trigger('/demo/line', { framing: 'line' });
  world.api.trigger('/demo/end');
  const mounted = await world.mount();
  for (const name of ['close', 'line']) {
    const { code, output } = await shell(mounted, `head -c 5000000 /dev/zero > $M/demo/${name}`);
    assert.notEqual(code, 0);
    assert.match(output, /File too large/);
  }
  await shell(mounted, 'echo end > $M/demo/end');
  await until(() => world.delivered().length > 0, { what: 'the last request' });
  assert.deepEqual(world.delivered(), ['end\n']);
});

test('a full spool is ENOSPC; half a command is never sent; it goes on when there is room', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  world.api.trigger('/demo/close', { framing: 'close' });
  world.broker.onRequest = () => undefined;
  const mounted = await world.mount({ settings: 'spool_limit = "100KB"\nwindow = 4' });
  const file = await open(mounted.path('/demo/x'), 'w');
  let written = 0;
  await assert.rejects(
    async () => {
      for (;;) {
        await file.write('0123456789'.repeat(100));
        written += 1;
      }
    },
    { code: 'ENOSPC' },
  );
  assert.ok(written > 80 && written < 100, String(written));
  const half = await shell(mounted, 'exec 3>$M/demo/close; echo -n "rm -rf /" >&3; head -c 4000 /dev/zero >&3; echo tmp/x >&3; exec 3>&-');
  assert.match(half.output, /No space left on device/);
  world.broker.onRequest = ({ peer, call }) => peer.result(call);
  for (const { peer, call } of [...world.broker.requests]) peer.result(call);
  await until(() => world.delivered().length === written, { what: 'the spool drains' });
  await until(() => statfsSync(mounted.mountpoint).bavail >= 20, { what: 'room again' });
  await file.write('room');
  await file.close();
  await until(() => world.delivered().length === written + 1, { what: 'the message after the full spool' });
  assert.ok(!world.delivered().some((text) => text.includes('rm -rf')));
});

test('permissions count for everyone but root; a viewer may look and not write', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/closed', { mode: 0o644 });
  world.api.trigger('/demo/open', { mode: 0o666 });
  world.api.trigger('/demo/hidden', { mode: 0o600 });
  const mounted = await world.mount({ settings: 'allow_other = true' });
  const nobody = { uid: 65_534, gid: 65_534 };
  await shell({ ...mounted, mountpoint: mounted.mountpoint } as typeof mounted, `chmod 755 ${mounted.folder}`);
  assert.match((await shell(mounted, 'echo x > $M/demo/closed', nobody)).output, /Permission denied/);
  assert.match((await shell(mounted, 'cat $M/demo/hidden', nobody)).output, /Permission denied/);
  assert.match((await shell(mounted, 'mkdir $M/demo/mine', nobody)).output, /Permission denied/);
  assert.match((await shell(mounted, 'chmod 777 $M/demo/closed', nobody)).output, /Operation not permitted/);
  const { code, output } = await shell(mounted, 'echo x > $M/demo/open', nobody);
  assert.equal(code, 0, output);
  await mounted.stop();
  world.api.role = 'viewer';
  const viewer = await world.mount();
  assert.match((await shell(viewer, 'echo x > $M/demo/open')).output, /Permission denied/);
  assert.match((await shell(viewer, 'mkdir $M/mine')).output, /Permission denied/);
  assert.equal((await shell(viewer, 'cat $M/demo/open')).code, 0);
});

test('without allow_other nobody else comes in', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  const mounted = await world.mount();
  await shell(mounted, `chmod 755 ${mounted.folder}`);
  assert.match((await shell(mounted, 'ls $M', { uid: 65_534, gid: 65_534 })).output, /Permission denied/);
});

test('mkdir, mv, chmod and rmdir show here at once and on another mount within a second', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const here = await world.mount();
  const folder = join(world.folder, 'there');
  mkdirSync(folder);
  const there = await world.mount({ folder });
  const within = { timeoutMs: 1_000, what: 'the other mount shows it' };
  const shows = async (command: string): Promise<boolean> => (await shell(there, command)).code === 0;
  assert.equal((await shell(here, 'mkdir -m 700 $M/new && test "$(stat -c %a $M/new)" = 700')).code, 0);
  await until(() => shows('test "$(stat -c %a $M/new)" = 700'), within);
  assert.equal((await shell(here, 'mv $M/demo/x $M/new/y && test -f $M/new/y && ! test -e $M/demo/x')).code, 0);
  await until(() => shows('test -f $M/new/y && ! test -e $M/demo/x'), within);
  assert.equal((await shell(there, 'chmod 400 $M/new/y && test "$(stat -c %a $M/new/y)" = 400')).code, 0);
  await until(async () => (await shell(here, 'test "$(stat -c %a $M/new/y)" = 400')).code === 0, within);
  assert.equal((await shell(here, 'mv $M/new $M/moved && test -f $M/moved/y')).code, 0);
  await until(() => shows('test -f $M/moved/y && ! test -e $M/new'), within);
  assert.equal((await shell(there, 'rmdir $M/demo && ! test -e $M/demo')).code, 0);
  await until(async () => (await shell(here, '! test -e $M/demo')).code === 0, within);
  await shell(there, 'echo moved > $M/moved/y');
  await until(() => world.delivered().includes('moved\n'), { what: 'the moved trigger fires' });
});

test('a trigger that was moved or changed while it is open keeps working; a removed one is ENOENT', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const mounted = await world.mount();
  const file = await open(mounted.path('/demo/x'), 'a');
  await file.write('before\n');
  await shell(mounted, 'mv $M/demo/x $M/demo/y');
  await file.write('after\n');
  await until(() => world.delivered().length === 2, { what: 'both requests' });
  world.api.triggers = [];
  world.api.directory('/other');
  await until(async () => !(await readdir(mounted.path('/demo'))).includes('y'), { what: 'the trigger is gone' });
  await assert.rejects(file.write('gone\n'), { code: 'ENOENT' });
  await file.close();
});

test('with the control-plane down the tree stays, writes are sent, and changes fail with an error', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const mounted = await world.mount();
  world.api.down = true;
  assert.equal((await shell(mounted, 'ls $M/demo/x && echo still > $M/demo/x')).code, 0);
  await until(() => world.delivered().length === 1, { what: 'the request' });
  assert.match((await shell(mounted, 'mkdir $M/new')).output, /No route to host/);
  await mounted.stop();
  await mounted.start();
  assert.equal((await shell(mounted, 'echo kept > $M/demo/x')).code, 0, 'the last known tree outlasts a restart');
  world.api.down = false;
  await until(() => world.delivered().includes('kept\n'), { what: 'the message is sent once the login succeeds' });
  await until(async () => (await shell(mounted, 'mkdir $M/new')).code === 0, { what: 'changes work again' });
});

test('a failing plugin, a refusal and their attributes', { skip: noFuse }, async (t) => {
  const world = await World.create(t);
  world.api.trigger('/demo/x');
  const mounted = await world.mount();
  world.broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, 'to stdout\n');
    peer.output(call, 1, 1, 'to stderr\n', true);
    peer.result(call, { verdict: Verdict.failed, exitCode: 7 });
  };
  await shell(mounted, 'echo x > $M/demo/x');
  assert.equal(await readFile(mounted.path('/demo/x'), 'utf8'), 'to stdout\nto stderr\n');
  await until(() => mounted.printed.some((line) => line.includes('/demo/x: failed (exit code 7')), { what: 'the verdict' });
});
