import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { TriggerFsError } from '../../protocol/errors.ts';
import { MasterKey, open, seal, TeamKeys } from '../../runtime/sealing/index.ts';
import { createDatabase } from '../support/postgres.ts';

const KEY = { id: 7, key: randomBytes(32) };
const RING = { byId: async () => KEY };

interface Stage {
  readonly pool: pg.Pool;
  readonly file: string;
  readonly team: number;
}

async function stage(t: TestContext): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-sealing-'));
  const pool = new pg.Pool({ connectionString: await createDatabase(t), max: 4 });
  t.after(async () => {
    await pool.end();
    rmSync(folder, { recursive: true, force: true });
  });
  const { rows } = await pool.query<{ id: number }>(`insert into triggerfs.teams (name) values ('a') returning id`);
  return { pool, file: join(folder, 'keys', 'master.key'), team: (rows[0] as { id: number }).id };
}

function code(expected: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TriggerFsError);
    assert.equal(error.code, expected);
    assert.match(error.message, pattern);
    return true;
  };
}

test('what was sealed opens again, byte for byte', async () => {
  for (const plain of [Buffer.alloc(0), Buffer.from([0]), randomBytes(511), randomBytes(70_000), Buffer.alloc(100_000, 'line\n')]) {
    const sealed = seal(KEY, 'purpose|1', plain);
    assert.deepEqual(await open(RING, 1, 'purpose|1', sealed), plain);
    assert.ok(plain.length < 512 || !sealed.includes(plain.subarray(0, 16)), 'nothing of it is readable');
  }
});

test('what compresses is stored small, what does not costs 34 bytes more', () => {
  assert.ok(seal(KEY, '', Buffer.alloc(64 * 1024, 'line\n')).length < 1000);
  assert.equal(seal(KEY, '', randomBytes(64 * 1024)).length, 64 * 1024 + 34);
  assert.equal(seal(KEY, '', Buffer.alloc(100)).length, 134);
});

test('no two seals are alike', () => {
  const seen = new Set(Array.from({ length: 2000 }, () => seal(KEY, 'x', Buffer.from('same')).toString('hex')));
  assert.equal(seen.size, 2000);
});

test('changed, moved and cut bytes are refused', async () => {
  const sealed = seal(KEY, 'output|1|a', randomBytes(600));
  for (let at = 0; at < sealed.length; at += at < 40 ? 1 : 97) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] as number) ^ 1;
    // A changed key id finds the same key in this ring, and is noticed all the same.
    await assert.rejects(open(RING, 1, 'output|1|a', changed), code('TFS_SEALED', /output\|1\|a/), `byte ${at}`);
  }
  await assert.rejects(open(RING, 1, 'output|1|b', sealed), code('TFS_SEALED', /belongs elsewhere/));
  for (const length of [0, 5, 33, sealed.length - 1]) {
    await assert.rejects(open(RING, 1, 'output|1|a', sealed.subarray(0, length)), code('TFS_SEALED', /output/));
  }
});

test('the master key is made once, for its owner alone', async (t) => {
  const { pool, file } = await stage(t);
  const keys = await Promise.all([1, 2, 3].map(() => MasterKey.load(file, pool)));
  assert.equal(new Set(keys.map((key) => key.fingerprint)).size, 1);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal((await MasterKey.load(file, pool)).fingerprint, keys[0]?.fingerprint);
  chmodSync(file, 0o644);
  await assert.rejects(MasterKey.load(file, pool), code('TFS_CONFIG', /readable by others/));
  chmodSync(file, 0o600);
  writeFileSync(file, 'c2hvcnQ=\n');
  await assert.rejects(MasterKey.load(file, pool), code('TFS_CONFIG', /key 1 is not the base64 of 32 bytes/));
});

test('a machine without the master key of the database is told so, and makes none', async (t) => {
  const { pool, file } = await stage(t);
  const { fingerprint } = await MasterKey.load(file, pool);
  const other = join(file, '..', 'other.key');
  await assert.rejects(MasterKey.load(other, pool), code('TFS_CONFIG', new RegExp(`${fingerprint}.*copy the file`)));
  assert.equal(existsSync(other), false);
  writeFileSync(other, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  await assert.rejects(MasterKey.load(other, pool), code('TFS_CONFIG', /which is not in .*other\.key/));
});

test('teams have keys of their own, the same for all processes', async (t) => {
  const { pool, file, team } = await stage(t);
  const master = await MasterKey.load(file, pool);
  const { rows } = await pool.query<{ id: number }>(`insert into triggerfs.teams (name) values ('b') returning id`);
  const second = (rows[0] as { id: number }).id;
  const rings = Array.from({ length: 5 }, () => new TeamKeys(pool, master));
  const keys = await Promise.all(rings.flatMap((ring) => [ring.current(team), ring.current(team)]));
  assert.equal(new Set(keys.map(({ id }) => id)).size, 1);
  const [key] = keys as [(typeof keys)[0]];
  assert.equal(new Set(keys.map((one) => one.key.toString('hex'))).size, 1);
  const foreign = await (rings[0] as TeamKeys).current(second);
  assert.notDeepEqual(foreign.key, key.key);
  const sealed = seal(key, 'x', Buffer.from('text'));
  assert.equal((await open(rings[4] as TeamKeys, team, 'x', sealed)).toString(), 'text');
  await assert.rejects(open(rings[1] as TeamKeys, second, 'x', sealed), code('TFS_SEALED', /has no data key/));
  const { rows: stored } = await pool.query<{ wrapped: Buffer }>('select wrapped from triggerfs.team_keys');
  for (const { wrapped } of stored) assert.ok(!wrapped.includes(key.key), 'the key is not in the table');
  await assert.rejects((rings[0] as TeamKeys).current(999), /team_keys_team_id_fkey|violates foreign key/);
});

test('a retired key still opens; a deleted one is gone for good', async (t) => {
  const { pool, file, team } = await stage(t);
  const master = await MasterKey.load(file, pool);
  const old = await new TeamKeys(pool, master).current(team);
  const sealed = seal(old, 'x', Buffer.from('before'));
  assert.equal((await pool.query('select triggerfs.retire_team_keys(null) as n')).rows[0].n, 1);
  const ring = new TeamKeys(pool, master);
  assert.notEqual((await ring.current(team)).id, old.id);
  assert.equal((await open(ring, team, 'x', sealed)).toString(), 'before');
  await pool.query('delete from triggerfs.team_keys where id = $1', [old.id]);
  await assert.rejects(open(new TeamKeys(pool, master), team, 'x', sealed), code('TFS_SEALED', /has no data key \d+ \(any more\)/));
});

test('a new master key takes over in two steps', async (t) => {
  const { pool, file, team } = await stage(t);
  const sealed = seal(await new TeamKeys(pool, await MasterKey.load(file, pool)).current(team), 'x', Buffer.from('text'));
  const oldLine = readFileSync(file, 'utf8');
  const newLine = `${randomBytes(32).toString('base64')}\n`;
  writeFileSync(file, `# rotated\n${newLine}${oldLine}`);
  const both = await MasterKey.load(file, pool);
  assert.equal(await new TeamKeys(pool, both).rewrap(), 1);
  assert.equal(await new TeamKeys(pool, both).rewrap(), 0);
  writeFileSync(file, newLine);
  const alone = await MasterKey.load(file, pool);
  assert.equal(alone.fingerprint, both.fingerprint);
  assert.equal((await open(new TeamKeys(pool, alone), team, 'x', sealed)).toString(), 'text');
  writeFileSync(file, oldLine);
  await assert.rejects(MasterKey.load(file, pool), code('TFS_CONFIG', /is sealed with master key/));
});

test('the roles may use keys, and only the control-plane may wrap them anew', async (t) => {
  const { pool, file, team } = await stage(t);
  const master = await MasterKey.load(file, pool);
  for (const role of ['triggerfs_edge', 'triggerfs_app', 'triggerfs_jobs']) {
    const client = await pool.connect();
    try {
      await client.query(`set role ${role}`);
      assert.ok((await new TeamKeys(client, master).current(team)).key.length === 32, role);
      await assert.rejects(client.query('select * from triggerfs.team_keys'), /permission denied/, role);
      await assert.rejects(client.query('select * from triggerfs.master_key'), /permission denied/, role);
      await assert.rejects(client.query('select triggerfs.retire_team_keys(null)'), /permission denied/, role);
      if (role !== 'triggerfs_app') {
        await assert.rejects(client.query(`select triggerfs.rewrap_team_keys('0123456789abcdef', '{}', '{}')`), /permission denied/, role);
      }
    } finally {
      await client.query('reset role');
      client.release();
    }
  }
});
