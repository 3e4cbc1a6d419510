import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

suite('words that are never stored', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup);
    token = await api.tokenOf('admin');
  });

  test('are kept sealed, listed by name and never shown again', async () => {
    const word = 'correct horse battery';
    const made = await api.call('PUT /v1/redactions/database', { token, body: { word } });
    assert.equal(made.status, 204, made.body.detail);
    const [first] = await api.sql(`select encode(word, 'escape') as word from triggerfs.redactions where name = 'database'`);
    assert.ok(!String(first?.word).includes(word.slice(0, 8)));
    assert.equal((await api.call('PUT /v1/redactions/database', { token, body: { word: 'another one' } })).status, 204);
    const list = await api.call('GET /v1/redactions', { token });
    assert.deepEqual(
      (list.body.items as unknown as { name: string }[]).map(({ name }) => name),
      ['database'],
    );
    assert.equal((await api.call('DELETE /v1/redactions/database', { token })).status, 204);
    assert.equal((await api.call('DELETE /v1/redactions/database', { token })).body.code, 'TFS_NOT_FOUND');
  });

  test('brokers hear of them like of every other configuration', async () => {
    const version = async (): Promise<number> =>
      Number(
        (await api.sql(`select v.version from triggerfs.config_version v join triggerfs.teams t on t.id = v.team_id where t.name = 'a'`))[0]
          ?.version,
      );
    const before = await version();
    await api.call('PUT /v1/redactions/mail', { token, body: { word: 'a new word' } });
    assert.ok((await version()) > before);
  });

  test('short ones and too many are refused', async () => {
    assert.equal((await api.call('PUT /v1/redactions/short', { token, body: { word: 'short' } })).status, 400);
    await api.sql(
      `insert into triggerfs.redactions (team_id, name, word) select t.id, 'n' || g, 'x' from triggerfs.teams t, generate_series(1, 99) g where t.name = 'a'`,
    );
    assert.equal((await api.call('PUT /v1/redactions/one-more', { token, body: { word: 'a long word' } })).body.code, 'TFS_LIMIT');
    assert.equal((await api.call('PUT /v1/redactions/n1', { token, body: { word: 'a long word' } })).status, 204);
  });
});
