import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastFirst } from '../support/last-first.ts';
import { isMounted } from '../support/server.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', 'fs', 'bin.ts');
const CAN_MOUNT = existsSync('/dev/fuse') && process.getuid?.() === 0;

test('two mounts of one team', { skip: CAN_MOUNT ? false : 'needs root and /dev/fuse' }, async (t) => {
  const hooks = lastFirst(t);
  const system = await System.start(hooks, { mount: true });
  const first = String(system.ready.mountpoint);
  const second = join(system.folder, 'second');
  const { api, team, identity, secret } = system.config.main;
  const config = join(system.folder, 'second.toml');
  const main = `[main]\napi = "${api}"\nteam = "${team}"\nidentity = "${identity}"\nsecret = "${secret}"\n`;
  writeFileSync(config, `${main}[triggerfs]\nmountpoint = "${second}"\nspool = "second-spool"\nlogfile = ""\n`, { mode: 0o600 });
  const child = spawn(process.execPath, [PROGRAM, '-config', config], { stdio: 'ignore' });
  hooks.after(async () => {
    if (child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    assert.equal(isMounted(second), false);
  });
  await until(() => isMounted(second) && readdirSync(second).includes('demo'), { timeoutMs: 20_000, what: 'the second mount' });

  await t.test('what one changes, the other shows within a second', async () => {
    const within = { timeoutMs: 1_000 };
    mkdirSync(join(first, 'plant'));
    await until(() => existsSync(join(second, 'plant')), { ...within, what: 'a new directory' });
    renameSync(join(second, 'demo', 'log'), join(second, 'plant', 'journal'));
    await until(() => existsSync(join(first, 'plant', 'journal')) && !existsSync(join(first, 'demo', 'log')), {
      ...within,
      what: 'a moved trigger',
    });
    chmodSync(join(first, 'plant', 'journal'), 0o600);
    await until(() => (statSync(join(second, 'plant', 'journal')).mode & 0o777) === 0o600, { ...within, what: 'new mode bits' });
    assert.throws(() => rmdirSync(join(second, 'plant')), { code: 'ENOTEMPTY' });
    renameSync(join(second, 'plant', 'journal'), join(second, 'demo', 'log'));
    rmdirSync(join(second, 'plant'));
    await until(() => !existsSync(join(first, 'plant')), { ...within, what: 'a removed directory' });
  });

  await t.test('one write is one request with one hit, whichever mount it goes through', async () => {
    const hits = async (): Promise<number> => {
      const { items } = await system.api<{ items: { name: string; hits: number }[] }>('GET', '/v1/triggers');
      return items.find((trigger) => trigger.name === 'command')?.hits ?? -1;
    };
    assert.equal(await hits(), 0);
    writeFileSync(join(first, 'demo', 'command'), 'echo one\n');
    await until(() => readFileSync(join(first, 'demo', 'command'), 'utf8') === 'one\n', { what: 'the answer' });
    await until(async () => (await hits()) === 1, { what: 'one hit' });
    writeFileSync(join(second, 'demo', 'command'), 'echo two\n');
    await until(() => readFileSync(join(second, 'demo', 'command'), 'utf8') === 'two\n', { what: 'the answer through the second mount' });
    await until(async () => (await hits()) === 2, { what: 'two hits' });
  });

  await t.test('looking at files fires nothing', async () => {
    const trigger = join(first, 'demo', 'command');
    execFileSync('sh', [
      '-c',
      `ls -la ${first}/demo; stat ${trigger}; touch ${trigger}; find ${first} -type f; : > ${trigger}; cat ${trigger}; cp -a ${trigger} ${system.folder}/copy`,
    ]);
    const { items } = await system.api<{ items: { name: string; hits: number }[] }>('GET', '/v1/triggers');
    assert.equal(items.find((item) => item.name === 'command')?.hits, 2);
  });
});
