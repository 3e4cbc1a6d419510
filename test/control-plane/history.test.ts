import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, suite, test } from 'node:test';
import type { HistoryInvocation, HistoryPage, StatisticsAnswer } from '../../protocol/http/history.ts';
import { type Answer, type Fixture, startFixture, suiteCleanup } from './fixture.ts';
import { HistoryWriter } from './history-fixture.ts';

const MINUTE = 60_000;

suite('history', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let writer: HistoryWriter;
  const tokens = new Map<string, string>();

  before(async () => {
    api = await startFixture(cleanup);
    writer = await HistoryWriter.open(cleanup, api.databaseUrl);
    for (const role of ['owner', 'admin', 'member', 'viewer']) tokens.set(role, await api.tokenOf(role));
    tokens.set('other', await api.tokenOf('owner', 'b'));
  });

  function as(who: string, route: string, body?: object): Promise<Answer> {
    return api.call(route, { token: tokens.get(who), ...(body === undefined ? {} : { body }) });
  }

  async function list(query: string, who = 'member'): Promise<HistoryPage> {
    const answer = await as(who, `GET /v1/history?${query}`);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body as unknown as HistoryPage;
  }

  /** Ids of all pages. */
  async function listAll(query: string): Promise<string[]> {
    const ids: string[] = [];
    for (let next: string | null = ''; next !== null; ) {
      const page: HistoryPage = await list(`${query}${next === '' ? '' : `&before=${next}`}`);
      ids.push(...page.items.map(({ id }) => id));
      next = page.next;
    }
    return ids;
  }

  async function clear(): Promise<void> {
    await writer.sql('truncate triggerfs.invocations, triggerfs.runs, triggerfs.outputs');
  }

  test('pages go from the newest to the oldest, also through equal times, without loss or repetition', async () => {
    await clear();
    const now = Date.now();
    const ids: string[] = [];
    for (let n = 0; n < 25; n += 1) ids.push(await writer.invocation({ acceptedAt: new Date(now - Math.floor(n / 5) * 1000) }));
    const seen: string[] = [];
    let next: string | null = null;
    let pages = 0;
    do {
      const page: HistoryPage = await list(`limit=4${next === null ? '' : `&before=${next}`}`);
      seen.push(...page.items.map(({ id }) => id));
      next = page.next;
      pages += 1;
    } while (next !== null);
    assert.equal(pages, 7);
    assert.deepEqual([...seen].sort(), [...ids].sort());
    const times = (await list('limit=1000')).items.map(({ acceptedAt }) => acceptedAt);
    assert.deepEqual(times, [...times].sort().reverse());
  });

  test('each filter finds what it names', async () => {
    await clear();
    const team = await writer.team('a');
    const [directory] = await writer.sql<{ id: number }>(
      `insert into triggerfs.directories (team_id, path) values ($1, '/h') returning id`,
      [team],
    );
    const [trigger] = await writer.sql<{ id: number }>(
      `insert into triggerfs.triggers (team_id, directory_id, name) values ($1, $2, 't') returning id`,
      [team, directory?.id],
    );
    await writer.sql(`insert into triggerfs.services (team_id, name) values ($1, 'Backup')`, [team]);
    const old = await writer.invocation({ acceptedAt: new Date(Date.now() - 90 * MINUTE) });
    const backup = await writer.invocation({ service: 'Backup', plugin: 'command/command' });
    const fired = await writer.invocation({ trigger: trigger?.id ?? 0, source: 'fs' });
    const failed = await writer.invocation({ verdict: 'failed', caller: 'Owner-a' });
    const running = await writer.invocation({ verdict: null });
    const onW1 = await writer.invocation();
    await writer.run(onW1, { id: 1, identity: 'w1' });
    await writer.run(onW1, { id: 2, identity: 'w2' });
    const found = async (query: string): Promise<string[]> => (await list(query)).items.map(({ id }) => id);
    assert.deepEqual(await found('service=backup'), [backup]);
    assert.deepEqual(await found('plugin=command%2Fcommand'), [backup]);
    assert.deepEqual(await found('trigger=%2Fh%2Ft'), [fired]);
    assert.deepEqual(await found(`trigger=${trigger?.id}`), [fired]);
    assert.deepEqual(await found('source=fs'), [fired]);
    assert.deepEqual(await found('verdict=failed'), [failed]);
    assert.deepEqual(await found('caller=owner-A'), [failed]);
    assert.deepEqual(await found('verdict=running'), [running]);
    assert.deepEqual(await found('worker=w1'), [onW1]);
    assert.deepEqual(await found('until=-1h'), [old]);
    assert.deepEqual((await found('since=-1h')).includes(old), false);
    assert.equal((await found('since=-1h')).length, 5);
    assert.deepEqual(await found('since=-2h&until=-1h&service=s&verdict=ok'), [old]);
    assert.deepEqual(await found('service=nothing'), []);
    const [item] = (await list('worker=w2')).items;
    assert.deepEqual([item?.workers.sort(), item?.state, item?.trigger], [['w1', 'w2'], 'done', null]);
    assert.equal((await list('trigger=%2Fh%2Ft')).items[0]?.trigger, '/h/t');
    assert.equal((await as('member', 'GET /v1/history?trigger=%2Fnone')).status, 404);
    for (const bad of ['since=yesterday', 'limit=0', 'limit=1001', 'before=x', 'verdict=good', 'source=x', 'colour=red']) {
      assert.equal((await as('member', `GET /v1/history?${bad}`)).status, 400, bad);
    }
  });

  test('what a worker ran: page by page, each invocation once, also after retries and a fail-over', async () => {
    await clear();
    await writer.sql(`insert into triggerfs.workers (team_id, identity, token_hash) values ($1, 'W7', sha256('W7'))`, [
      await writer.team('a'),
    ]);
    const now = Date.now();
    const expected: string[] = [];
    for (let n = 0; n < 12; n += 1) {
      const acceptedAt = new Date(now - Math.floor(n / 3) * MINUTE);
      const id = await writer.invocation({ acceptedAt });
      await writer.run(id, { id: 8, identity: 'w8' });
      if (n % 2 === 1) continue;
      expected.push(id);
      await writer.run(id, { id: 7, identity: 'W7' });
      // Again on the same worker, or on one that was made anew under the same name.
      if (n % 4 === 0) await writer.run(id, { id: n === 0 ? 9 : 7, identity: 'W7' }, { attempt: 2 });
    }
    // The second broker took it half a minute later.
    const late = expected.at(-1) as string;
    await writer.run(late, { id: 7, identity: 'W7' }, { attempt: 3, takenAt: new Date(now - 2.5 * MINUTE) });
    await writer.run(await writer.invocation({ team: 'b' }), { id: 7, identity: 'W7' }, { team: 'b' });
    for (const name of ['W7', 'w7']) {
      assert.deepEqual((await listAll(`worker=${name}&limit=2`)).sort(), [...expected].sort());
    }
    const times = (await list('worker=W7')).items.map(({ acceptedAt }) => acceptedAt);
    assert.deepEqual(times, [...times].sort().reverse());
    assert.equal((await list('worker=W7&since=-90s')).items.length, 3);
    assert.equal((await list('worker=W7&service=none')).items.length, 0);
  });

  test('an invocation tells its runs, its input and its place in the queue', async () => {
    await clear();
    const item = randomUUID();
    const id = await writer.invocation({ payload: Buffer.from('date'), args: { text: 'x' }, verdict: 'failed', item, outputBytes: 5 });
    await writer.run(id, { id: 1, identity: 'w1' }, { verdict: 'worker-lost', startedAt: new Date(Date.now() - 1000) });
    await writer.run(id, { id: 2, identity: 'w2' }, { verdict: 'failed', attempt: 2 });
    await writer.block(id, 2, 0, [['hello']], { attempt: 2 });
    await writer.sql(
      `insert into triggerfs.queue_items (id, team_id, source, service, plugin, due_at, expires_at, state, attempt)
       values ($1, $2, 'api', 's', 'echo', now(), now() + interval '1 h', 'running', 2)`,
      [item, await writer.team('a')],
    );
    await writer.sql(
      `insert into triggerfs.queue_attempts (item_id, attempt, team_id, invocation_id, dispatcher) values ($1, 1, $2, $1, $1), ($1, 2, $2, $3, $1)`,
      [item, await writer.team('a'), id],
    );
    const view = (await as('viewer', `GET /v1/history/${id.toUpperCase()}`)).body as unknown as HistoryInvocation;
    assert.deepEqual(
      view.runs.map(({ worker, attempt, verdict, exitCode }) => [worker, attempt, verdict, exitCode]),
      [
        ['w1', 1, 'worker-lost', 1],
        ['w2', 2, 'failed', 1],
      ],
    );
    assert.deepEqual([view.payloadBytes, view.replayable, view.outputKept, view.args], [4, true, true, { text: 'x' }]);
    assert.deepEqual([view.queue?.state, view.queue?.attempt, view.queue?.attempts], ['running', 2, [item, id]]);
    const waiting = (await as('viewer', `GET /v1/history/${item}`)).body as unknown as HistoryInvocation;
    assert.deepEqual([waiting.state, waiting.verdict, waiting.queue?.state, waiting.runs], ['accepted', null, 'running', []]);
    assert.equal((await as('member', `GET /v1/history/${randomUUID()}`)).status, 404);
    assert.equal((await as('member', 'GET /v1/history/1')).status, 400);
  });

  test('another team sees nothing, and not whether there is something', async () => {
    await clear();
    const id = await writer.invocation({ payload: Buffer.from('x') });
    await writer.run(id, { id: 1, identity: 'w1' });
    await writer.block(id, 1, 0, [['secret']]);
    const nowhere = randomUUID();
    for (const path of ['', '/output']) {
      const [theirs, none] = [await as('other', `GET /v1/history/${id}${path}`), await as('other', `GET /v1/history/${nowhere}${path}`)];
      assert.equal(theirs.status, 404);
      assert.equal(JSON.stringify(theirs.body).replace(id, nowhere), JSON.stringify(none.body));
    }
    assert.equal((await as('other', `POST /v1/history/${id}/replay`)).status, 404);
    assert.deepEqual((await list('', 'other')).items, []);
  });

  test('the history of a local service is its owner’s, also after it is renamed or deleted', async () => {
    await clear();
    const team = await writer.team('a');
    const [owner] = await writer.sql<{ id: number }>(`select id from triggerfs.users where identity = 'member-a'`);
    await writer.sql(`insert into triggerfs.services (team_id, name, visibility, owner_id) values ($1, 'Mine', 'local', $2)`, [
      team,
      owner?.id,
    ]);
    const id = await writer.invocation({ service: 'Mine', acceptedAt: new Date(Date.now() - 1000) });
    const seen = async (who: string): Promise<[number, number]> => [
      (await list('', who)).items.length,
      (await as(who, `GET /v1/history/${id}`)).status,
    ];
    for (const step of [
      'select 1',
      `update triggerfs.services set name = 'Other' where name = 'Mine'`,
      `update triggerfs.services set name = 'MINE' where name = 'Other'`,
      `delete from triggerfs.services where name = 'MINE'`,
      `insert into triggerfs.services (team_id, name, visibility) select id, 'mine', 'team' from triggerfs.teams where name = 'a'`,
    ]) {
      await writer.sql(step);
      assert.deepEqual(await seen('member'), [1, 200], step);
      for (const who of ['viewer', 'admin', 'owner']) assert.deepEqual(await seen(who), [0, 404], `${who}: ${step}`);
    }
    const hour = `date_trunc('hour', now()) - interval '1 hour'`;
    await writer.sql(
      `insert into triggerfs.statistics (team_id, hour, service, count, failures, p50_ms, p95_ms) values ($1, ${hour}, 'Mine', 1, 0, 1, 1)`,
      [team],
    );
    await writer.sql(`update triggerfs.statistics_progress set until = ${hour} + interval '1 hour'`);
    const counted = async (who: string): Promise<number> =>
      ((await as(who, 'GET /v1/statistics')).body as unknown as StatisticsAnswer).items.length;
    assert.ok((await counted('member')) > (await counted('viewer')));
    await writer.invocation({ service: 'mine', acceptedAt: new Date(Date.now() + 1000) });
    assert.equal((await list('', 'viewer')).items.length, 1, 'the new service is the team’s');
    await writer.sql('delete from triggerfs.gone_services');
    await writer.sql(`delete from triggerfs.services where name = 'mine'`);
  });

  test('a team with a local service can be deleted', async () => {
    await writer.sql(`insert into triggerfs.teams (name) values ('short')`);
    await writer.sql(
      `insert into triggerfs.services (team_id, name, visibility) select id, 'x', 'local' from triggerfs.teams where name = 'short'`,
    );
    await writer.sql(`delete from triggerfs.teams where name = 'short'`);
    assert.deepEqual(await writer.sql('select * from triggerfs.gone_services'), []);
  });

  test('replay accepts the same request once more', async () => {
    await clear();
    await writer.sql(`insert into triggerfs.services (team_id, name) select id, 's' from triggerfs.teams where name = 'a'`);
    const id = await writer.invocation({ payload: Buffer.from([0, 255, 10]), args: { a: 'b' }, plugin: 'echo' });
    const answer = await as('member', `POST /v1/history/${id}/replay`);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    const again = String(answer.body.id);
    assert.equal(answer.headers.get('location'), `/v1/invocations/${again}`);
    const [item] = await writer.sql(
      `select source, caller, service, plugin, args, timeout_ms, sealed from triggerfs.queue_items where id = $1`,
      [again],
    );
    assert.deepEqual(item, {
      source: 'api',
      caller: 'member-a',
      service: 's',
      plugin: 'echo',
      args: { a: 'b' },
      timeout_ms: 30000,
      sealed: true,
    });
    assert.equal((await as('viewer', `POST /v1/history/${id}/replay`)).status, 403, 'a viewer sees it and does not run it');
    for (const [scopes, status] of [
      [['read'], 403],
      [['invoke'], 403],
      [['read', 'invoke'], 202],
    ] as const) {
      const made = await as('member', 'POST /v1/tokens', { name: scopes.join('-'), scopes });
      const replayed = await api.call(`POST /v1/history/${id}/replay`, { token: String(made.body.token) });
      assert.equal(replayed.status, status, scopes.join(' '));
    }
    const gone = await writer.invocation({ payload: null, payloadBytes: 3 });
    const refused = await as('member', `POST /v1/history/${gone}/replay`);
    assert.equal(refused.body.code, 'TFS_NOT_KEPT');
    assert.match(String(refused.body.detail), /the input of .* was not kept; "set services s history output"/);
    const unknown = await writer.invocation({ service: 'deleted', payload: Buffer.from('x') });
    assert.equal((await as('member', `POST /v1/history/${unknown}/replay`)).body.code, 'TFS_UNKNOWN_SERVICE');
  });
});
