import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { lastFirst } from '../../support/last-first.ts';
import { System } from '../../support/system.ts';
import { cliCommand, cliEnvironment } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

const SECRET = 'a good password';

test('an account is deleted in the console, after its password', { skip: NO_TERMINAL, timeout: 60_000 }, async (context) => {
  const t = lastFirst(context);
  const system = await System.start(t, { mount: false });
  await system.api('POST', '/v1/users', { identity: 'anna', secret: SECRET });
  const config = join(system.folder, 'anna.toml');
  writeFileSync(config, `[main]\napi = "${system.ready.api}"\nteam = "demo"\nidentity = "anna"\nsecret = "${SECRET}"\n`, { mode: 0o600 });
  const terminal = new Terminal(t, cliCommand(config, []), { env: cliEnvironment() });
  await terminal.see(/\(demo\) anna@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('request account delete', /for good:$/);
  await terminal.run('a wrong one');
  await terminal.see(/the password is another one/);
  await terminal.run('request account delete', /for good:$/);
  terminal.type(SECRET);
  terminal.press('Enter');
  await terminal.see(/Your account is deleted[\s\S]*ended with 0/);
  assert.ok(!terminal.screen().includes(SECRET));
  const { items } = await system.api<{ items: { identity: string }[] }>('GET', '/v1/users');
  assert.deepEqual(
    items.map(({ identity }) => identity),
    ['demo'],
  );
});
