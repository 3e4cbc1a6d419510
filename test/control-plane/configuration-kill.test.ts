import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { childEnvironment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { createDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { Fixture } from './fixture.ts';

/** A control-plane as a process of its own, ready. */
async function startProcess(t: TestContext, databaseUrl: string): Promise<{ url: string; child: ChildProcess }> {
  const bin = join(packageRoot(), 'control-plane', 'bin.ts');
  const env = childEnvironment({ DATABASE_URL: databaseUrl });
  const child = spawn(process.execPath, [bin, '-json', '-port', '0'], { env, cwd: '/', stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  for await (const line of createInterface(child.stdout)) {
    const { event, url } = JSON.parse(line) as { event?: string; url?: string };
    if (event === 'ready' && url !== undefined) return { url, child };
  }
  throw new Error('the control-plane ended before it was ready');
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function fixtureAt(url: string, databaseUrl: string): Fixture {
  return new Fixture({ url, routes: [], stop: async () => undefined }, databaseUrl);
}

test('a killed control-plane keeps nothing of half a commit, and the next one rolls back what was not confirmed', async (t) => {
  const databaseUrl = await createDatabase(t);
  const first = await startProcess(t, databaseUrl);
  const api = fixtureAt(first.url, databaseUrl);
  await api.team('a');
  const commit = async (at: Fixture, body: object): Promise<number> => {
    const token = await at.tokenOf('owner');
    return (await at.call('POST /v1/configuration/commit', { token, body })).status;
  };
  const count = async (): Promise<number> => (await api.sql('select from triggerfs.workers')).length;
  assert.equal(await commit(api, { commands: ['set workers identity kept'] }), 200);
  assert.equal(await commit(api, { commands: ['delete workers kept', 'set workers identity lost'], confirmMinutes: 1 }), 200);
  await kill(first.child);

  // The minute passes while nothing runs.
  await api.sql(`update triggerfs.configuration_commits set confirm_by = now() where state = 'pending'`);
  const second = await startProcess(t, databaseUrl);
  const identities = async (): Promise<string[]> =>
    (await api.sql<{ identity: string }>('select identity from triggerfs.workers')).map(({ identity }) => identity);
  await until(async () => (await identities()).join() === 'kept', { timeoutMs: 20_000, what: 'the rollback after the kill' });

  const commands = Array.from({ length: 5000 }, (_, index) => `set workers identity w${index}`);
  const cut = commit(fixtureAt(second.url, databaseUrl), { commands }).catch(() => 'cut');
  const working = `select from pg_stat_activity where datname = current_database() and query like 'insert into triggerfs.workers%'`;
  await until(async () => (await api.sql(working)).length > 0, { timeoutMs: 20_000, what: 'the first commands' });
  await kill(second.child);
  assert.equal(await cut, 'cut');
  const open = `select from pg_stat_activity where datname = current_database() and application_name = 'triggerfs-control-plane'`;
  await until(async () => (await api.sql(open)).length === 0, { timeoutMs: 20_000, what: 'the end of its connections' });
  assert.equal(await count(), 1);
  assert.equal((await api.sql('select from triggerfs.configuration_commits')).length, 3);
});
