import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { masterKeySection } from '../support/master-key.ts';
import { randomNumbers } from '../support/random.ts';
import { until } from '../support/wait.ts';
import { type Answer, COST, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

interface Result {
  readonly line: number;
  readonly command: string;
  readonly notice: string | null;
  readonly worker: { readonly identity: string; readonly token: string } | null;
}

interface View {
  readonly version: string;
  readonly commands: readonly string[];
  readonly lock: { readonly holder: string; readonly expiresAt: string } | null;
  readonly pending: { readonly id: number; readonly author: string; readonly confirmBy: string } | null;
}

const TEAM = [
  'set teams description "of the tests"',
  'set directories path /newtrigger',
  'set directories /newtrigger mode 0750',
  'set workers identity demo01',
  'set workers demo01 description "the first | one"',
  'set workers identity demo02',
  'set services name demoservice',
  'set services demoservice plugins add command/command',
  'set services demoservice algorithm mirror',
  'set services demoservice timeout 10s',
  'set services demoservice visibility team',
  'set services demoservice workers add demo02',
  'set services demoservice workers add demo01',
  'set triggers name /newtrigger/demotrigger',
  'set triggers /newtrigger/demotrigger plugin command/command',
  'set triggers /newtrigger/demotrigger visibility team',
  'set triggers /newtrigger/demotrigger service attach demoservice',
  'set triggers /newtrigger/demotrigger args text="a b"',
];

suite('configuration', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let owner: string;
  let teams = 0;

  before(async () => {
    api = await startFixture(cleanup, { requestsPerSecond: 10_000 });
    owner = await api.tokenOf('owner');
  });

  /** Token of the owner of a fresh team. */
  async function freshTeam(): Promise<{ name: string; token: string }> {
    teams += 1;
    const name = `t${teams}`;
    await api.team(name);
    return { name, token: await api.tokenOf('owner', name) };
  }

  function commit(token: string, commands: readonly string[], more: object = {}): Promise<Answer> {
    return api.call('POST /v1/configuration/commit', { token, body: { commands, ...more } });
  }

  async function results(answer: Promise<Answer>): Promise<readonly Result[]> {
    const { status, body } = await answer;
    assert.equal(status, 200, body.detail);
    return body.results as unknown as Result[];
  }

  async function view(token: string): Promise<View> {
    const { status, body } = await api.call('GET /v1/configuration', { token });
    assert.equal(status, 200, body.detail);
    return body as unknown as View;
  }

  /** Returns the notices. */
  async function rollBack(token: string, number: number): Promise<readonly string[]> {
    const { status, body } = await api.call('POST /v1/configuration/rollback', { token, body: { number } });
    assert.equal(status, 200, body.detail);
    return body.notices as unknown as string[];
  }

  /** Lets the waiting of a team's commit end, and returns what the log says of its rollback. */
  async function letExpire(token: string): Promise<string> {
    await api.sql(`update triggerfs.configuration_commits set confirm_by = now() where state = 'pending'`);
    await until(async () => (await view(token)).pending === null, { timeoutMs: 10_000, what: 'the rollback' });
    const { items } = (await api.call('GET /v1/configuration/commits?limit=1', { token })).body as unknown as {
      items: { comment: string }[];
    };
    return String(items[0]?.comment);
  }

  const logInAs = (team: string, identity: string, token: string): Promise<Answer> =>
    api.call('POST /v1/workers/login', { body: { team, identity, token } });

  test('the documented commands, one commit each', async () => {
    const { name, token } = await freshTeam();
    const [made] = await results(commit(token, ['set workers identity demo01']));
    assert.equal(made?.worker?.identity, 'demo01');
    assert.equal((await logInAs(name, 'demo01', String(made.worker.token))).status, 200);
    await results(commit(token, ['set services name demoservice']));
    const [attached] = await results(commit(token, ['set services demoservice workers add demo01']));
    assert.match(
      String(attached?.notice),
      /^this service has algorithm roundrobin\. Roundrobin is handled by the broker\. Running workers .* by themselves\.$/,
    );
    await results(commit(token, ['set directories path /newtrigger']));
    await results(commit(token, ['set trigger name /newtrigger/demotrigger']));
    await results(commit(token, ['set trigger demotrigger plugin command/command']));
    await results(commit(token, ['set trigger demotrigger service attach demoservice']));
    const trigger = (await api.call('GET /v1/triggers/demotrigger', { token })).body;
    assert.deepEqual([trigger.plugin, trigger.service, trigger.visibility], ['command/command', 'demoservice', 'local']);
    const service = (await api.call('GET /v1/services/demoservice', { token })).body;
    assert.deepEqual([service.workers, service.visibility], [['demo01'], 'local']);
  });

  test('the text rebuilds the team in an empty one, and again changes nothing', async () => {
    const [first, second] = [await freshTeam(), await freshTeam()];
    assert.deepEqual((await view(first.token)).commands, []);
    const made = await results(commit(first.token, ['# our team', '', ...TEAM]));
    assert.deepEqual(
      made.map(({ line, command }) => [line, command]),
      TEAM.map((command, index) => [index + 3, command]),
    );
    const text = await view(first.token);
    assert.deepEqual(text.commands, TEAM);
    const loaded = await results(commit(second.token, text.commands));
    assert.deepEqual(
      loaded.flatMap(({ worker }) => worker?.identity ?? []),
      ['demo01', 'demo02'],
    );
    const copy = await view(second.token);
    assert.deepEqual(copy, { ...text, version: copy.version });
    assert.equal(copy.version, text.version);
    const again = await results(commit(second.token, text.commands));
    assert.ok(again.every(({ worker }) => worker === null));
    assert.equal(again.find(({ command }) => command === 'set workers identity demo01')?.notice, 'the worker demo01 exists already');
    assert.deepEqual(await view(second.token), copy);
  });

  test('all or nothing, and the error names line and command', async () => {
    const { token } = await freshTeam();
    const answer = await commit(token, ['set workers identity kept', '', 'set services nothing timeout 3s']);
    assert.equal(answer.status, 404);
    assert.equal(answer.body.code, 'TFS_UNKNOWN_SERVICE');
    assert.equal(answer.body.detail, 'line 3, "set services nothing timeout 3s": the team has no service nothing');
    assert.deepEqual((await view(token)).commands, []);
    const clash = await commit(token, ['set workers identity same', 'set services name same']);
    assert.equal(clash.body.code, 'TFS_CONFLICT');
    assert.match(String(clash.body.detail), /^line 2, "set services name same": the name same is used by a worker already$/);
    for (const [commands, code] of [
      [['set'], 'TFS_USAGE'],
      [['set workers identity a', 'set users x role admin'], 'TFS_USAGE'],
      [['set teams name other'], 'TFS_USAGE'],
      [['rename teams a to stolen'], 'TFS_WRONG_TEAM'],
      [['set trigger name /top'], 'TFS_BAD_REQUEST'],
      [['set services name s', 'set services s visibility public'], 'TFS_CONFLICT'],
      [['set services name s', 'delete services s workers w'], 'TFS_NOT_FOUND'],
      [['delete directories /none'], 'TFS_NOT_FOUND'],
      [[`set workers identity ${'x'.repeat(64)}`], 'TFS_BAD_NAME'],
    ] as const) {
      const wrong = await commit(token, commands);
      assert.equal(wrong.body.code, code, commands.join('; '));
      assert.match(String(wrong.body.detail), new RegExp(`^line ${commands.length}, `));
    }
    assert.deepEqual((await view(token)).commands, []);
    assert.deepEqual((await api.call('GET /v1/configuration/commits', { token })).body.items, []);
    assert.deepEqual((await commit(token, ['# nothing'])).body, { id: null, confirmBy: null, results: [] });
  });

  test('a check tells the same and keeps nothing', async () => {
    const { token } = await freshTeam();
    const check = (commands: readonly string[]): Promise<Answer> => api.call('POST /v1/configuration/check', { token, body: { commands } });
    assert.deepEqual(
      (await results(check(TEAM))).map(({ worker }) => worker),
      TEAM.map(() => null),
    );
    assert.deepEqual((await view(token)).commands, []);
    assert.match(String((await check(['delete workers none'])).body.detail), /^line 1, /);
    const after: unknown = (await check(TEAM)).body.commands;
    await results(commit(token, TEAM));
    assert.deepEqual(after, (await view(token)).commands);
  });

  test('a check tells what a rollback would make of the team', async () => {
    const { token } = await freshTeam();
    await results(commit(token, ['set workers identity w1']));
    await results(commit(token, ['set workers identity w2']));
    const check = async (body: object): Promise<unknown> => (await api.call('POST /v1/configuration/check', { token, body })).body.commands;
    assert.deepEqual(await check({ rollback: 1 }), ['set workers identity w1']);
    assert.deepEqual(await check({ rollback: 2 }), []);
    assert.deepEqual(await check({ rollback: 2, commands: ['set workers identity w3'] }), ['set workers identity w3']);
    assert.deepEqual(await check({}), ['set workers identity w1', 'set workers identity w2']);
    const { body } = await api.call('POST /v1/configuration/check', { token, body: { rollback: 3 } });
    assert.equal(body.code, 'TFS_NOT_FOUND');
    const stale = await api.call('POST /v1/configuration/check', { token, body: { rollback: 1, version: 'another' } });
    assert.equal(stale.body.code, 'TFS_CONFLICT');
  });

  test('renaming, detaching and deleting', async () => {
    const { token } = await freshTeam();
    await results(commit(token, TEAM));
    await results(
      commit(token, [
        'rename workers demo01 to demo03',
        'rename services demoservice to front',
        'rename directories /newtrigger to /moved',
        'rename trigger demotrigger to renamed',
        'set services front workers remove demo02',
        'set trigger renamed service detach front',
        'delete trigger renamed args text',
        'delete services front timeout',
        'delete services front plugins command/command',
        'delete workers demo02',
        'set teams description ""',
      ]),
    );
    assert.deepEqual((await view(token)).commands, [
      'set directories path /moved',
      'set directories /moved mode 0750',
      'set workers identity demo03',
      'set workers demo03 description "the first | one"',
      'set services name front',
      'set services front plugins none',
      'set services front algorithm mirror',
      'set services front visibility team',
      'set services front workers add demo03',
      'set triggers name /moved/renamed',
      'set triggers /moved/renamed plugin command/command',
      'set triggers /moved/renamed visibility team',
    ]);
    await results(commit(token, ['delete trigger renamed', 'delete directories /moved', 'delete services front', 'delete workers demo03']));
    assert.deepEqual((await view(token)).commands, []);
  });

  test('members change what is theirs, see no others’ local things, and find only their own commits', async () => {
    const { name } = await freshTeam();
    const [admin, member, viewer] = [
      await api.tokenOf('admin', name),
      await api.tokenOf('member', name),
      await api.tokenOf('viewer', name),
    ];
    await results(commit(admin, ['set services name hidden', 'set services name shared visibility team', 'set workers identity w']));
    assert.deepEqual((await view(member)).commands, [
      'set workers identity w',
      'set services name shared',
      'set services shared visibility team',
    ]);
    for (const [command, code] of [
      ['set services shared timeout 3s', 'TFS_FORBIDDEN'],
      ['set services hidden timeout 3s', 'TFS_UNKNOWN_SERVICE'],
      ['delete workers w', 'TFS_FORBIDDEN'],
      ['set teams description x', 'TFS_FORBIDDEN'],
      [`rename teams ${name} to x`, 'TFS_FORBIDDEN'],
    ] as const) {
      assert.equal((await commit(member, [command])).body.code, code, command);
    }
    assert.equal((await commit(viewer, ['set workers identity x'])).status, 403);
    await results(commit(member, ['set services name own visibility team']));
    assert.equal((await commit(admin, ['set services own visibility local'])).body.code, 'TFS_FORBIDDEN');
    await results(commit(admin, ['set services own timeout 3s']));
    const log = async (token: string): Promise<unknown[]> =>
      (await api.call('GET /v1/configuration/commits', { token })).body.items as never;
    assert.deepEqual([(await log(viewer)).length, (await log(member)).length, (await log(admin)).length], [0, 1, 3]);
    assert.doesNotMatch(JSON.stringify(await log(member)), /hidden/);
    assert.equal((await api.call('POST /v1/configuration/rollback', { token: member, body: { number: 1 } })).status, 403);
  });

  test('the log says who did what from where, page by page', async () => {
    const { name, token } = await freshTeam();
    for (const worker of ['a', 'b', 'c']) await results(commit(token, [`set workers identity ${worker}`], { comment: `made ${worker}` }));
    await rollBack(token, 1);
    const first = (await api.call('GET /v1/configuration/commits?limit=2', { token })).body as unknown as { items: object[]; next: number };
    const second = (await api.call(`GET /v1/configuration/commits?limit=2&before=${first.next}`, { token }))
      .body as unknown as typeof first;
    const entries = [...first.items, ...second.items] as { [key: string]: unknown }[];
    assert.deepEqual(
      entries.map(({ author, address, kind, state, comment, commands }) => [author, address, kind, state, comment, commands]),
      [
        [`owner-${name}`, '127.0.0.1', 'rollback', 'done', '', ['rollback 1']],
        ...['c', 'b', 'a'].map((worker) => [
          `owner-${name}`,
          '127.0.0.1',
          'commit',
          'done',
          `made ${worker}`,
          [`set workers identity ${worker}`],
        ]),
      ],
    );
    assert.ok(entries.every(({ createdAt }) => Math.abs(Date.parse(String(createdAt)) - Date.now()) < 60_000));
    const last = (await api.call(`GET /v1/configuration/commits?before=${entries[3]?.id}`, { token })).body;
    assert.deepEqual(last, { items: [], next: null });
    assert.equal((await api.call('GET /v1/configuration/commits?limit=1000', { token })).status, 400);
  });

  test('rollback restores the text, not the tokens of deleted workers, and can be undone', async () => {
    const { name, token } = await freshTeam();
    const made = await results(commit(token, TEAM));
    const [one, two] = made.flatMap(({ worker }) => worker?.token ?? []) as [string, string];
    const original = await view(token);
    await results(
      commit(token, [
        'delete workers demo01',
        'rename workers demo02 to demo01',
        'set workers identity demo04',
        'delete services demoservice',
        'set services name other',
        'rename directories /newtrigger to /moved',
        'set directories path /newtrigger',
        'set trigger name /newtrigger/demotrigger',
        'delete trigger /moved/demotrigger',
        'set teams description other',
      ]),
    );
    const changed = await view(token);
    assert.equal((await logInAs(name, 'demo01', two)).status, 200);
    assert.deepEqual(await rollBack(token, 1), ['the worker demo01 needs a new token: request worker demo01 token']);
    assert.deepEqual(await view(token), original);
    assert.equal((await logInAs(name, 'demo01', one)).status, 401, 'the token of a worker that comes back may have leaked');
    const fresh = await api.call('POST /v1/workers/demo01/token', { token });
    assert.equal((await logInAs(name, 'demo01', String(fresh.body.token))).status, 200);
    assert.equal((await logInAs(name, 'demo02', two)).status, 200);
    await rollBack(token, 1);
    assert.deepEqual(await view(token), changed);
    await rollBack(token, 2);
    assert.deepEqual(await view(token), changed, 'the state before the first rollback');
    await rollBack(token, 2);
    assert.deepEqual(await view(token), original);
    await rollBack(token, 6);
    assert.deepEqual((await view(token)).commands, [], 'the state before the first commit');
    const missing = await api.call('POST /v1/configuration/rollback', { token, body: { number: 49 } });
    assert.equal(missing.body.code, 'TFS_NOT_FOUND');
    assert.equal((await api.call('POST /v1/configuration/rollback', { token, body: { number: 0 } })).status, 400);
  });

  test('rollback exchanges names back, and leaves a changed token alone', async () => {
    const { name, token } = await freshTeam();
    await results(commit(token, [...TEAM, 'set directories path /a', 'set directories path /a/b', 'set trigger name /a/b/t']));
    const before = await view(token);
    await results(
      commit(token, [
        'rename workers demo01 to x',
        'rename workers demo02 to demo01',
        'rename workers x to demo02',
        'rename services demoservice to demo03',
        'rename directories /a/b to /b',
        'rename directories /a to /b/a',
        'rename trigger /b/t to /newtrigger/u',
        'rename trigger /newtrigger/demotrigger to /b/t',
        'rename directories /b to /c',
      ]),
    );
    const rotated = await api.call('POST /v1/workers/demo01/token', { token });
    await rollBack(token, 1);
    assert.deepEqual(await view(token), before);
    assert.equal((await logInAs(name, 'demo02', String(rotated.body.token))).status, 200, 'demo01 is called demo02 again');
  });

  test('a team gets its name back, unless another one has it now', async () => {
    const { name, token } = await freshTeam();
    const nameNow = async (): Promise<unknown> => (await api.call('GET /v1/whoami', { token })).body.team;
    await results(commit(token, [`rename teams ${name} to ${name}-new`, 'set workers identity w']));
    assert.equal(await nameNow(), `${name}-new`);
    await rollBack(token, 1);
    assert.equal(await nameNow(), name);
    await rollBack(token, 1);
    await api.sql('insert into triggerfs.teams (name) values ($1)', [name]);
    await rollBack(token, 1);
    assert.equal(await nameNow(), `${name}-new`);
    assert.deepEqual((await view(token)).commands, [], 'the rest is restored');
  });

  test('a worker made anew in the meantime keeps its new token', async () => {
    const { name, token } = await freshTeam();
    await results(commit(token, ['set workers identity w', 'set services name s', 'set services s workers add w']));
    const before = await view(token);
    await results(commit(token, ['delete workers w']));
    const [, made] = await results(commit(token, ['set workers identity other', 'set workers identity W']));
    await rollBack(token, 2);
    assert.deepEqual(await view(token), before);
    assert.equal((await logInAs(name, 'w', String(made?.worker?.token))).status, 200);
  });

  test('hits of a trigger and rows that did not change stay as they are', async () => {
    const { name, token } = await freshTeam();
    await results(commit(token, TEAM));
    await api.sql(
      `insert into triggerfs.trigger_hits (trigger_id, team_id, hits)
       select t.id, t.team_id, 7 from triggerfs.triggers t join triggerfs.teams m on m.id = t.team_id where m.name = $1`,
      [name],
    );
    const rows = (): Promise<unknown[]> =>
      api.sql(`select s.*, s.xmin::text from triggerfs.services s join triggerfs.teams m on m.id = s.team_id where m.name = $1`, [name]);
    const services = await rows();
    await results(commit(token, ['set workers demo01 description changed', 'set trigger demotrigger mode 0600']));
    await rollBack(token, 1);
    assert.equal((await api.call('GET /v1/triggers/demotrigger', { token })).body.hits, 7);
    assert.deepEqual(await rows(), services);
  });

  test('another version, a lock and a pending commit refuse a commit', async () => {
    const { name, token } = await freshTeam();
    const admin = await api.tokenOf('admin', name);
    const member = await api.tokenOf('member', name);
    const { version } = await view(token);
    await results(commit(token, ['set workers identity a'], { version }));
    assert.equal((await commit(token, ['set workers identity b'], { version })).body.code, 'TFS_CONFLICT');

    assert.equal((await api.call('POST /v1/configuration/lock', { token: member, body: {} })).status, 200);
    assert.equal((await view(token)).lock?.holder, `member-${name}`);
    const refused = await commit(admin, ['set workers identity b']);
    assert.equal(refused.body.code, 'TFS_CONFLICT');
    assert.match(String(refused.body.detail), new RegExp(`^member-${name} holds the configuration exclusively until 20`));
    assert.equal((await api.call('POST /v1/configuration/rollback', { token: admin, body: { number: 1 } })).body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('POST /v1/configuration/lock', { token: admin, body: {} })).body.code, 'TFS_CONFLICT');
    await results(commit(member, ['set workers identity b']));
    assert.equal((await api.call('DELETE /v1/configuration/lock', { token: admin })).status, 204);
    assert.equal((await api.call('POST /v1/configuration/lock', { token: admin, body: { minutes: 1 } })).status, 200);
    assert.equal((await api.call('DELETE /v1/configuration/lock', { token: member })).body.code, 'TFS_FORBIDDEN');
    await api.sql(`update triggerfs.configuration_locks set expires_at = now() - interval '1 s'`);
    assert.equal((await view(token)).lock, null);
    await results(commit(member, ['set workers identity c']));

    assert.equal((await api.call('POST /v1/configuration/confirm', { token })).body.code, 'TFS_NOT_FOUND');
    const pending = await commit(admin, ['set workers identity d'], { confirmMinutes: 5 });
    assert.ok(Math.abs(Date.parse(String(pending.body.confirmBy)) - Date.now() - 300_000) < 60_000);
    assert.equal((await view(token)).pending?.author, `admin-${name}`);
    for (const caller of [admin, token, member]) {
      assert.match(String((await commit(caller, ['set workers identity e'])).body.detail), /waits for its confirmation until/);
    }
    assert.equal((await api.call('POST /v1/configuration/confirm', { token: member })).body.code, 'TFS_FORBIDDEN');
    assert.equal((await api.call('POST /v1/configuration/confirm', { token: admin })).body.id, pending.body.id);
    assert.equal((await view(token)).pending, null);
    await results(commit(member, ['set workers identity e']));
  });

  test('only who may roll back makes a commit that is rolled back by itself', async () => {
    const { name, token } = await freshTeam();
    const [admin, member] = [await api.tokenOf('admin', name), await api.tokenOf('member', name)];
    const refused = await commit(member, ['set workers identity a'], { confirmMinutes: 1 });
    assert.deepEqual([refused.status, refused.body.code], [403, 'TFS_FORBIDDEN']);
    assert.match(String(refused.body.detail), /^a member cannot make a commit that waits .* only admins and owners make one$/);
    assert.deepEqual([(await view(token)).commands, (await view(token)).pending], [[], null]);
    await results(commit(member, ['set workers identity a']));
    await results(commit(admin, ['set workers identity b'], { confirmMinutes: 1 }));
    await letExpire(token);
    assert.deepEqual((await view(token)).commands, ['set workers identity a']);
  });

  test('a worker that was deleted for its leaked token comes back without what was ever given to it', async () => {
    const { name, token } = await freshTeam();
    const [made] = await results(commit(token, ['set workers identity w']));
    await results(commit(token, ['set services name s'], { confirmMinutes: 1 }));
    const rotated = String((await api.call('POST /v1/workers/w/token', { token })).body.token);
    const session = String((await logInAs(name, 'w', rotated)).body.apiToken);
    assert.equal((await api.call('GET /v1/whoami', { token: session })).status, 200);
    assert.equal((await api.call('DELETE /v1/workers/w', { token: await api.tokenOf('admin', name) })).status, 204);
    const comment = await letExpire(token);
    assert.match(comment, /^commit \d+ was not confirmed in time; the worker w needs a new token: request worker w token$/);
    assert.deepEqual((await view(token)).commands, ['set workers identity w']);
    for (const old of [String(made?.worker?.token), rotated]) assert.equal((await logInAs(name, 'w', old)).status, 401);
    assert.equal((await api.call('GET /v1/whoami', { token: session })).status, 401, 'what was signed for it before');
    const { token: fresh } = (await api.call('POST /v1/workers/w/token', { token })).body;
    assert.equal((await api.call('GET /v1/whoami', { token: session })).status, 401, 'nor after a new token');
    assert.equal((await logInAs(name, 'w', String(fresh))).status, 200);
    const hashes = `select from triggerfs.configuration_snapshots where state::text like '%token_hash%'`;
    assert.deepEqual(await api.sql(hashes), [], 'snapshots hold none');
  });

  test('only an owner’s rollback restores the name and description of the team', async () => {
    const { name, token } = await freshTeam();
    const admin = await api.tokenOf('admin', name);
    const left = "the team's name and description stay as they are: only owners change them";
    const team = async (): Promise<unknown[]> => {
      const named = String((await api.call('GET /v1/whoami', { token })).body.team);
      return [named, (await api.call(`GET /v1/teams/${named}`, { token })).body.description];
    };
    const renamed = [`${name}-new`, 'other'];
    await results(commit(token, [`rename teams ${name} to ${name}-new`, 'set teams description other', 'set workers identity w']));
    assert.deepEqual(await rollBack(admin, 1), [left]);
    assert.deepEqual([await team(), (await view(token)).commands], [renamed, ['set teams description other']]);
    assert.deepEqual(await rollBack(token, 2), []);
    assert.deepEqual(await team(), [name, '']);

    for (const [author, kept] of [
      [admin, renamed],
      [token, [name, '']],
    ] as const) {
      await results(commit(author, ['set services name s'], { confirmMinutes: 1 }));
      const change = { name: `${name}-new`, description: 'other' };
      assert.equal((await api.call(`PATCH /v1/teams/${name}`, { token, body: change })).status, 200);
      assert.equal((await letExpire(token)).includes(left), author === admin);
      assert.deepEqual(await team(), kept);
      if (author === admin) await api.call(`PATCH /v1/teams/${name}-new`, { token, body: { name, description: '' } });
    }
  });

  test('what is not confirmed is rolled back, also after a rollback by hand', async () => {
    const { name, token } = await freshTeam();
    await results(commit(token, TEAM));
    const before = await view(token);
    await results(commit(token, ['delete services demoservice', 'delete workers demo01'], { confirmMinutes: 1 }));
    await letExpire(token);
    assert.deepEqual(await view(token), before);
    const [last] = (await api.call('GET /v1/configuration/commits?limit=1', { token })).body.items as unknown as {
      [key: string]: unknown;
    }[];
    assert.deepEqual([last?.author, last?.address, last?.kind], [`owner-${name}`, '', 'rollback']);
    assert.match(String(last?.comment), /^commit \d+ was not confirmed in time; the worker demo01 needs a new token: /);

    await results(commit(token, ['set workers identity z'], { confirmMinutes: 1 }));
    await rollBack(token, 1);
    assert.deepEqual(await view(token), before, 'a rollback takes the pending commit with it');
    assert.equal((await api.call('POST /v1/configuration/confirm', { token })).body.code, 'TFS_NOT_FOUND');
  });

  test('the plan’s limit names its line; a rollback beyond it waits, and may be confirmed instead', async () => {
    const { name, token } = await freshTeam();
    const plan = (plan: string): Promise<unknown> => api.sql('update triggerfs.teams set plan = $2 where name = $1', [name, plan]);
    const workers = ['a', 'b', 'c'].map((worker) => `set workers identity ${worker}`);
    await plan('free');
    const refused = await commit(token, workers);
    assert.equal(refused.body.code, 'TFS_LIMIT');
    assert.match(String(refused.body.detail), /^line 3, "set workers identity c": /);
    await plan('unlimited');
    await results(commit(token, workers));
    await results(commit(token, ['delete workers a', 'delete workers b'], { confirmMinutes: 1 }));
    await plan('free');
    await api.sql(`update triggerfs.configuration_commits set confirm_by = now() where state = 'pending'`);
    const back = await api.call('POST /v1/configuration/rollback', { token, body: { number: 1 } });
    assert.equal(back.body.code, 'TFS_LIMIT');
    assert.deepEqual((await view(token)).commands, ['set workers identity c']);
    assert.equal((await api.call('POST /v1/configuration/confirm', { token })).status, 200);
    await results(commit(token, ['set workers identity d']));
  });

  test('commits at once end one after the other', async () => {
    const { token } = await freshTeam();
    const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => commit(token, [`set workers identity w${index}`])));
    assert.deepEqual(
      answers.map(({ status }) => status),
      answers.map(() => 200),
    );
    assert.equal((await view(token)).commands.length, 8);
    for (let number = 0; number < 8; number += 1) await rollBack(token, 2 * number + 1);
    assert.deepEqual((await view(token)).commands, []);
  });

  test('any rollback after any commits gives the text of that time', async () => {
    const { token } = await freshTeam();
    const random = randomNumbers(3);
    const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
    const name = (): string => pick(['a', 'b', 'c', 'd']);
    const service = (): string => pick(['a', 'sb', 'sc']);
    const path = (): string => pick(['/x', '/y', '/x/z', '/x/z/u', '/y/x']);
    const makers: readonly (() => string)[] = [
      () => `set workers identity ${name()}`,
      () => `set services name ${service()}`,
      () => `set directories path ${path()}`,
      () => `set triggers name ${path()}/t${name()}`,
      () => `set services ${service()} workers ${pick(['add', 'remove'])} ${name()}`,
      () => `set services ${service()} plugins ${pick(['add', 'remove'])} ${pick(['p/p', 'q'])}`,
      () => `set services ${service()} algorithm ${pick(['serial', 'mirror'])} timeout ${1 + random(9)}s`,
      () => `set trigger ${path()}/t${name()} service attach ${service()}`,
      () => `set trigger ${path()}/t${name()} args k=${random(9)}`,
      () => `rename workers ${name()} to ${name()}`,
      () => `rename services ${service()} to ${service()}`,
      () => `rename directories ${path()} to ${path()}`,
      () => `rename trigger ${path()}/t${name()} to ${path()}/t${name()}`,
      () => `delete workers ${name()}`,
      () => `delete services ${service()}`,
      () => `delete triggers ${path()}/t${name()}`,
      () => `delete directories ${path()}`,
    ];
    // The text before each commit, the oldest first.
    const texts: (readonly string[])[] = [];
    let now: readonly string[] = [];
    let rollbacks = 0;
    while (texts.length < 150) {
      if (texts.length > 5 && random(6) === 0) {
        const number = 1 + random(Math.min(texts.length, 49));
        await rollBack(token, number);
        const expected = texts.at(-number) as readonly string[];
        texts.push(now);
        now = (await view(token)).commands;
        assert.deepEqual(now, expected, `rollback ${number} as commit ${texts.length}`);
        rollbacks += 1;
      } else if ((await commit(token, [pick(makers)()])).status === 200) {
        texts.push(now);
        now = (await view(token)).commands;
      }
    }
    assert.ok(rollbacks > 20);
  });

  test('a commit raises the version for brokers once, and a savepoint taken back does not swallow it', async () => {
    const { name, token } = await freshTeam();
    const version = async (): Promise<number> => {
      const [row] = await api.sql<{ version: string }>(
        'select v.version from triggerfs.config_version v join triggerfs.teams t on t.id = v.team_id where t.name = $1',
        [name],
      );
      return Number(row?.version);
    };
    const first = await version();
    await results(commit(token, TEAM));
    assert.equal(await version(), first + 1);
    const change = (description: string): string => `update triggerfs.teams set description = '${description}' where name = '${name}';`;
    await api.sql(`begin; savepoint s; ${change('x')} rollback to savepoint s; ${change('y')} commit`);
    assert.equal(await version(), first + 2);
    await api.sql(`begin; ${change('x')} rollback`);
    await api.sql(change('z'));
    assert.equal(await version(), first + 3);
  });

  test('other teams see and change nothing of it', async () => {
    const { token } = await freshTeam();
    await results(commit(token, ['set workers identity secret-worker'], { confirmMinutes: 5 }));
    for (const path of ['/v1/configuration', '/v1/configuration/commits']) {
      assert.doesNotMatch(JSON.stringify((await api.call(`GET ${path}`, { token: owner })).body), /secret-worker|t\d/);
    }
    assert.equal((await api.call('POST /v1/configuration/confirm', { token: owner })).body.code, 'TFS_NOT_FOUND');
    assert.equal((await commit(owner, ['delete workers secret-worker'])).body.code, 'TFS_NOT_FOUND');
    assert.equal((await api.call('POST /v1/configuration/rollback', { token: owner, body: { number: 1 } })).body.code, 'TFS_NOT_FOUND');
  });

  test('a team of a thousand workers is loaded and rolled back in one go', async () => {
    const { token } = await freshTeam();
    const workers = Array.from({ length: 1000 }, (_, index) => `w${index}`);
    const commands = [
      'set services name all',
      ...workers.map((worker) => `set workers identity ${worker}`),
      ...workers.map((worker) => `set services all workers add ${worker}`),
    ];
    await results(commit(token, commands));
    const loaded = await view(token);
    assert.equal(loaded.commands.length, 2001);
    await results(commit(token, ['delete services all', ...workers.map((worker) => `delete workers ${worker}`)]));
    await rollBack(token, 1);
    assert.deepEqual(await view(token), loaded);
  });
});

test('a commit that waits is rolled back when a control-plane starts after its end', async (t) => {
  const api = await startFixture(t);
  const token = await api.tokenOf('owner');
  const body = { commands: ['set workers identity lost'], confirmMinutes: 1 };
  assert.equal((await api.call('POST /v1/configuration/commit', { token, body })).status, 200);
  await api.controlPlane.stop();
  await api.sql('update triggerfs.configuration_commits set confirm_by = now()');
  assert.equal((await api.sql('select from triggerfs.workers')).length, 1);
  const start = (): ReturnType<typeof startControlPlane> =>
    startControlPlane({
      config: parseConfig(masterKeySection(), null),
      databaseUrl: api.databaseUrl,
      log: silentLogger(),
      port: 0,
      passwordCost: COST,
    });
  // Two at once: one of them does it.
  const both = await Promise.all([start(), start()]);
  t.after(() => Promise.all(both.map((controlPlane) => controlPlane.stop())));
  await until(async () => (await api.sql('select from triggerfs.workers')).length === 0, { timeoutMs: 10_000, what: 'the rollback' });
  const log = await api.sql<{ kind: string; state: string }>('select kind, state from triggerfs.configuration_commits order by id');
  assert.deepEqual(log, [
    { kind: 'commit', state: 'rolled-back' },
    { kind: 'rollback', state: 'done' },
  ]);
});
