import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { startControlPlane } from '../../control-plane/server.ts';
import type { MailView } from '../../protocol/http/mailbox.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { COST, Fixture } from '../control-plane/fixture.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { masterKeySection } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { World } from '../support/world.ts';

test('a worker that is killed is missed in the mailbox of its team, and one that is back is reported', { timeout: 60_000 }, async (t) => {
  const world = await World.create(t);
  // The control-plane has keys of its own.
  await world.sql.query('delete from triggerfs.channel_keys');
  const controlPlane = await startControlPlane({
    config: parseConfig(masterKeySection(), null),
    databaseUrl: world.url,
    log: silentLogger(),
    port: 0,
    passwordCost: COST,
    workerWatch: { periodMs: 200, patienceMs: 2_000 },
  });
  t.after(() => controlPlane.stop());
  await BrokerProcess.start(t, world, 'broker');
  const api = new Fixture(controlPlane, world.url);
  await api.team('a');
  const token = await api.tokenOf('owner');
  const made = await api.call('POST /v1/workers', { token, body: { identity: 'w1' } });
  const config = join(world.folder, 'triggerfs.toml');
  writeFileSync(config, `[main]\napi = "${controlPlane.url}"\n\n[workers.a.w1]\ntoken = "${made.body.token}"\n`, { mode: 0o600 });
  let worker: ChildProcess | null = null;
  const kill = async (): Promise<void> => {
    const ended = worker === null ? null : once(worker, 'exit');
    worker?.kill('SIGKILL');
    await ended;
    worker = null;
  };
  t.after(kill);
  const start = async (): Promise<void> => {
    worker = spawn(process.execPath, [join(packageRoot(), 'worker-agent', 'bin.ts'), '-config', config], { stdio: 'ignore' });
    await until(async () => (await api.call('GET /v1/workers/w1', { token })).body.state === 'ONLINE', {
      timeoutMs: 20_000,
      what: 'w1 is online',
    });
  };
  const letters = async (): Promise<string[]> => {
    const { items } = (await api.call('GET /v1/mail', { token })).body as unknown as { items: MailView[] };
    return items.map(({ kind, subject }) => `${kind}: ${subject}`);
  };
  const known = async (): Promise<string | undefined> =>
    (await api.sql<{ state: string }>('select state from triggerfs.worker_watch'))[0]?.state;

  await start();
  await until(async () => (await known()) === 'online', { what: 'the watch has seen w1' });
  await kill();
  const killed = performance.now();
  await until(async () => (await letters()).length > 0, { timeoutMs: 20_000, what: 'a letter' });
  assert.ok(performance.now() - killed > 2_000, 'not before the patience is at its end');
  assert.deepEqual(await letters(), ['worker: Worker w1 is lost']);
  await start();
  await until(async () => (await letters()).length > 1, { what: 'the second letter' });
  assert.deepEqual(await letters(), ['worker: Worker w1 is back', 'worker: Worker w1 is lost']);
});
