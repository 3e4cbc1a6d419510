import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppendFile } from '../../plugins/file/append/append-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'triggerfs-append-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('what is handed over in one go lands whole and in order', async () => {
  const path = join(folder, 'log');
  const file = new AppendFile(path);
  const lines = Array.from({ length: 3000 }, (_, index) => `line ${index}\n`);
  await Promise.all(lines.map((line) => file.append(Buffer.from(line), false)));
  await file.append(Buffer.alloc(0), false);
  file.close();
  assert.equal(readFileSync(path, 'utf8'), lines.join(''));
});

test('bytes are not changed, and a newline is added only where it is asked for and missing', async () => {
  const path = join(folder, 'log');
  const file = new AppendFile(path);
  await file.append(Buffer.from([0, 0xff, 0x0d]), false);
  await file.append(Buffer.from('a'), true);
  await file.append(Buffer.from('b\n'), true);
  file.close();
  assert.deepEqual(readFileSync(path), Buffer.from([0, 0xff, 0x0d, 0x61, 0x0a, 0x62, 0x0a]));
});

test('a rotated or removed file is made anew', async () => {
  const path = join(folder, 'log');
  const file = new AppendFile(path);
  await file.append(Buffer.from('old\n'), false);
  renameSync(path, `${path}.1`);
  await sleep(150);
  await file.append(Buffer.from('new\n'), false);
  assert.equal(readFileSync(`${path}.1`, 'utf8'), 'old\n');
  assert.equal(readFileSync(path, 'utf8'), 'new\n');
  rmSync(path);
  await sleep(150);
  await file.append(Buffer.from('again\n'), false);
  assert.equal(readFileSync(path, 'utf8'), 'again\n');
  file.close();
});

test('an existing file keeps what it has', async () => {
  const path = join(folder, 'log');
  for (const text of ['one\n', 'two\n']) {
    const file = new AppendFile(path);
    await file.append(Buffer.from(text), false);
    file.close();
  }
  assert.equal(readFileSync(path, 'utf8'), 'one\ntwo\n');
  assert.equal(statSync(path).mode & 0o777, 0o644);
});

test('a failure names the path and the reason, and the next append may succeed', async () => {
  const path = join(folder, 'missing', 'log');
  await assert.rejects(
    new AppendFile(path).append(Buffer.from('x'), false),
    (error: Error) => error.message.includes(path) && error.message.includes('ENOENT'),
  );
  await assert.rejects(new AppendFile(folder).append(Buffer.from('x'), false), /EISDIR/);
});

test('a full disk fails what was not written', { skip: !existsSync('/dev/full') }, async () => {
  const file = new AppendFile('/dev/full');
  const results = await Promise.allSettled([file.append(Buffer.from('a'), false), file.append(Buffer.from('b'), false)]);
  file.close();
  for (const result of results) assert.match(String((result as PromiseRejectedResult).reason), /ENOSPC.*0 of 1 bytes written/);
});
