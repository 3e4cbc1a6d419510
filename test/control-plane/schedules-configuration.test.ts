import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { type Answer, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

const TEAM = [
  'set directories path /demo',
  'set workers identity demo01',
  'set services name demo',
  'set services demo visibility team',
  'set triggers name /demo/command',
  'set triggers /demo/command plugin command/command',
  'set triggers /demo/command visibility team',
  'set triggers /demo/command service attach demo',
];

const SCHEDULES = [
  'set schedules name nightly',
  'set schedules nightly timezone America/New_York',
  'set schedules nightly cron "0 3 * * *"',
  'set schedules nightly trigger /demo/command',
  'set schedules nightly payload uptime',
  'set schedules nightly args key="a b"',
  'set schedules name often',
  'set schedules often every 10s',
  'set schedules often service demo',
  'set schedules often plugin command/command',
  'set schedules often catchup all',
  'set schedules often catchup_window 2h',
  'set schedules often overlap queue',
  'set schedules often jitter 5s',
  'set schedules often enabled off',
  'set schedules name resident',
  'set schedules resident cron @hourly',
  'set schedules resident service demo01',
  'set schedules resident plugin command/command',
  'set schedules resident resident demo01',
];

suite('schedules in the configuration', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup);
    token = await api.tokenOf('owner');
    await commit(token, TEAM);
  });

  async function commit(as: string, commands: readonly string[]): Promise<Answer> {
    const answer = await api.call('POST /v1/configuration/commit', { token: as, body: { commands } });
    assert.equal(answer.status, 200, answer.body.detail);
    return answer;
  }

  async function schedules(as: string): Promise<string[]> {
    const { body } = await api.call('GET /v1/configuration', { token: as });
    return (body.commands as unknown as string[]).filter((command) => command.startsWith('set schedules'));
  }

  async function rollback(number: number): Promise<void> {
    const answer = await api.call('POST /v1/configuration/rollback', { token, body: { number } });
    assert.equal(answer.status, 200, answer.body.detail);
  }

  test('the text rebuilds them, in another team too, and again changes nothing', async () => {
    await commit(token, SCHEDULES);
    assert.deepEqual(await schedules(token), SCHEDULES);
    await commit(token, SCHEDULES);
    assert.deepEqual(await schedules(token), SCHEDULES);
    const other = await api.tokenOf('owner', 'b');
    await commit(other, [...TEAM, ...SCHEDULES]);
    assert.deepEqual(await schedules(other), SCHEDULES);
  });

  test('changes, renaming, deleting, and going back', async () => {
    const [before] = await api.sql<{ id: number }>(`select id from triggerfs.schedules where name = 'nightly' order by id limit 1`);
    await commit(token, [
      'set schedules nightly at 2031-07-01T18:00',
      'delete schedules nightly args key',
      'rename schedules nightly to once',
      'delete schedules often',
      'delete schedules resident resident',
    ]);
    assert.deepEqual(
      (await schedules(token)).filter((command) => /once|often|resident resident/.test(command)),
      [
        'set schedules name once',
        'set schedules once timezone America/New_York',
        'set schedules once at 2031-07-01T22:00:00.000Z',
        'set schedules once trigger /demo/command',
        'set schedules once payload uptime',
      ],
    );
    await rollback(1);
    assert.deepEqual(await schedules(token), SCHEDULES);
    const [after] = await api.sql<{ id: number }>(`select id from triggerfs.schedules where name = 'nightly' order by id limit 1`);
    assert.equal(after?.id, before?.id);
  });

  test('a rollback brings back schedules with their triggers and workers, and exchanged names', async () => {
    await commit(token, [
      'rename schedules nightly to x',
      'rename schedules often to nightly',
      'rename schedules x to often',
      'delete triggers /demo/command',
      'rename workers demo01 to demo02',
    ]);
    assert.ok((await schedules(token)).includes('set schedules resident resident demo02'));
    await rollback(1);
    assert.deepEqual(await schedules(token), SCHEDULES);
    const broken = await api.sql(`select name, error from triggerfs.schedules where error is not null`);
    assert.deepEqual(broken, []);
  });

  test('a rollback does not fire again what has fired, nor is it in the way when something was gone already', async () => {
    await commit(token, ['set schedules name once', 'set schedules once at 2020-01-01T00:00Z', 'set schedules once service demo']);
    await api.sql(`update triggerfs.schedules set last_due_at = run_at, last_outcome = 'fired' where name = 'once'`);
    await commit(token, ['set services name gone', 'set schedules once service gone', 'set schedules once plugin command/command']);
    await api.sql(`delete from triggerfs.services where name = 'gone'`);
    await commit(token, ['delete schedules once']);
    await rollback(1);
    const { body } = await api.call('GET /v1/schedules/once', { token });
    assert.deepEqual([body.service, body.state, body.lastOutcome], ['gone', 'finished', 'fired']);
    await commit(token, ['delete schedules once']);
  });

  test('a mistake names its line', async () => {
    for (const [command, message] of [
      ['set schedules nightly cron "61 * * * *"', /line 1, .*minute 61 is not possible/],
      ['set schedules nightly timezone Mars/Olympus', /line 1, .*no time zone Mars\/Olympus/],
      ['set schedules nowhere cron @daily', /there is no schedule nowhere/],
      ['set schedules nightly trigger /no/trigger', /there is no trigger \/no\/trigger/],
      ['set schedules nightly every 1s cron @daily', /one of cron, every and run_at/],
    ] as const) {
      const answer = await api.call('POST /v1/configuration/commit', { token, body: { commands: [command] } });
      assert.match(answer.body.detail, message, command);
    }
    const viewer = await api.tokenOf('viewer');
    assert.equal(
      (await api.call('POST /v1/configuration/commit', { token: viewer, body: { commands: ['delete schedules nightly'] } })).status,
      403,
    );
    const member = await api.tokenOf('member');
    const answer = await api.call('POST /v1/configuration/commit', { token: member, body: { commands: ['delete schedules nightly'] } });
    assert.match(answer.body.detail, /the schedule nightly is another user's/);
  });
});
