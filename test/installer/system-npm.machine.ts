import assert from 'node:assert/strict';
import test from 'node:test';
import { VERSION } from '../../runtime/version.ts';
import { lastFirst } from '../support/last-first.ts';
import { serverFolder } from '../support/server.ts';
import { BareMachine, skippedWithoutMachine } from './bare-machine.ts';

test('a machine whose own npm is the only one that knows its registry', { timeout: 600_000 }, async (context) => {
  if (skippedWithoutMachine(context)) return;
  const t = lastFirst(context);
  const machine = await BareMachine.boot(t);
  machine.download(serverFolder(t));
  // Of the whole machine, not of a person: the installer cannot read what only npm finds.
  machine.do(`mv .npmrc /etc/npmrc && tar -xOf triggerfs-${VERSION}.tgz package/install.sh >install.sh`);
  const install = (options: string, answers = ''): string =>
    machine.do(
      `printf '${answers}' | npm_config_omit=optional bash install.sh --package triggerfs-${VERSION}.tgz ${options} 2>&1`,
      400_000,
    );

  const refused = install('--plain', '4\\ny\\n\\nn\\n7\\n');
  assert.match(
    refused,
    /There is no Node\.js here: installing \S+ into \/opt\/triggerfs\/node \.\.\.\nInstall what is missing with apt-get: npm\? \[Y\/n\]: install\.sh: this needs npm\n/,
  );
  assert.notEqual(machine.run('command -v npm').status, 0);
  assert.notEqual(machine.run('test -e /opt/triggerfs/node').status, 0);

  const installed = install('--yes modules');
  assert.match(
    installed,
    /^There is no Node\.js here: installing \S+ into \/opt\/triggerfs\/node \.\.\.\nInstalling npm \.\.\.\nInstalling triggerFS into \S+ \(this takes a minute\) \.\.\.\nModules: installed into \/opt\/triggerfs\.\n$/,
  );
  assert.equal(machine.do('command -v npm'), '/usr/bin/npm\n');
  // The Node.js that came with it is not the one that the programs run on.
  assert.match(machine.do('cat /usr/local/bin/triggerfs-client'), /exec "\/opt\/triggerfs\/node\/bin\/node"/);
  assert.match(machine.do('triggerfs-client -help'), /triggerfs-client/);
  assert.match(install('--yes modules'), /Nothing was changed: everything is in place\.\n$/);
});
