import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Claim } from '../../control-plane/queue/claim.ts';
import { Resends } from '../../control-plane/queue/resends.ts';
import { RunningItem } from '../../control-plane/queue/running-item.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { World } from '../support/world.ts';
import { QueueStage } from './queue-stage.ts';

test('a worker that is lost before it says that it has begun is an attempt that can be seen', async (t) => {
  const stage = await QueueStage.start(t);
  const people = [await stage.world.addWorker(stage.owner, 'w1'), await stage.world.addWorker(stage.owner, 'w2')];
  await stage.world.addService(stage.owner, 's', { workers: people });
  let executions = 0;
  let lost = '';
  for (const person of people) {
    await FakeWorker.connect(t, stage.world, person, [stage.broker], {
      plugins: ['p'],
      onTask: (task, worker) => {
        executions += 1;
        // Killed in the midst of it, before its STARTED has left.
        if (executions > 1) return task.result();
        lost = person.identity;
        worker.kill();
      },
    });
  }
  const item = await stage.ended(await stage.enqueue());
  assert.equal(executions, 2);
  assert.equal(item.state, 'done');
  assert.equal(item.retriesLeft, 0);
  assert.deepEqual(
    item.attempts.map(({ verdict, error, sends, worker }) => [verdict, error, sends, worker]),
    [
      ['no-worker', 'TFS_WORKER_LOST', 1, lost],
      ['ok', null, 1, lost === 'w1' ? 'w2' : 'w1'],
    ],
  );
  assert.notEqual(item.attempts[0]?.invocation, item.attempts[1]?.invocation);
});

interface Noted {
  readonly sends: number;
  readonly attempt: number;
}

/** A database with a team and no dispatcher: tests do what one does. */
class Desk {
  readonly #world: World;
  readonly #team: number;

  private constructor(world: World, team: number) {
    this.#world = world;
    this.#team = team;
  }

  static async open(t: TestContext): Promise<Desk> {
    const world = await World.create(t);
    return new Desk(world, (await world.addTeam('a')).teamId);
  }

  async sql<T>(text: string, values: readonly unknown[] = []): Promise<T[]> {
    return (await this.#world.sql.query(text, [...values])).rows as T[];
  }

  async enqueue(): Promise<string> {
    const item = { team: this.#team, source: 'api', service: 's', plugin: 'p' };
    const [row] = await this.sql<{ id: string }>('select id from triggerfs.enqueue($1, $2)', [JSON.stringify([item]), [null]]);
    return (row as { id: string }).id;
  }

  async claim(id: string): Promise<Claim> {
    const [claim] = await this.sql<Claim>('select * from triggerfs.queue_claim($1, $2)', [[id], randomUUID()]);
    return claim as Claim;
  }

  attempts(id: string): Promise<(Noted & { error: string | null })[]> {
    return this.sql('select attempt, sends::integer, error from triggerfs.queue_attempts where item_id = $1 order by attempt', [id]);
  }

  /** An item at a broker that was lost; `resent` tells what was noted of it when it was let go. */
  async held(): Promise<{ item: RunningItem; resent: Promise<unknown>[] }> {
    const claim = await this.claim(await this.enqueue());
    const resent: Promise<unknown>[] = [];
    const call = {
      invocation: Buffer.alloc(16),
      tag: null,
      sends: 1,
      held: true,
      grant: () => undefined,
      cancel: () => undefined,
      resend: () => {
        call.held = false;
        resent.push(this.attempts(claim.id).then((rows) => rows.map(({ attempt, sends }) => [attempt, sends])));
      },
    };
    const item = new RunningItem(claim, { id: claim.id, retryCount: 0 });
    item.call = call;
    return { item, resent };
  }

  /** What notes and lets go; the first statements fail. */
  resends(t: TestContext, failures = 0): Resends {
    let left = failures;
    const rows = async (text: string, values: readonly unknown[] = []): Promise<never[]> => {
      left -= 1;
      if (left >= 0) throw new Error('the database is away');
      return this.sql<never>(text, values);
    };
    const resends = new Resends({ database: { rows }, log: silentLogger() });
    t.after(() => resends.stop());
    return resends;
  }
}

test('a request goes out once more only after that was noted, however long the database is away', async (t) => {
  const desk = await Desk.open(t);
  const { item, resent } = await desk.held();
  desk.resends(t, 2).add(item);
  await until(() => resent.length === 1, { what: 'it goes out again' });
  assert.deepEqual(await resent[0], [[1, 2]]);
});

test('what a later attempt has overtaken does not go out again, unless that attempt is ours', async (t) => {
  const desk = await Desk.open(t);
  const { item, resent } = await desk.held();
  const newer = await desk.claim(item.claim.id);
  assert.deepEqual([newer.action, newer.attempt], ['resume', 2]);
  const resends = desk.resends(t);
  const other = await desk.held();
  resends.add(item);
  resends.add(other.item);
  await until(() => other.resent.length === 1, { what: 'the other one goes out' });
  assert.equal(item.call?.held, true);
  assert.equal(resent.length, 0);
  item.claim = newer;
  resends.add(item);
  await until(() => resent.length === 1, { what: 'it goes out as the newer attempt' });
  assert.deepEqual(await resent[0], [
    [1, 1],
    [2, 2],
  ]);
});

test('how old an item is, the database tells: the clock of the control-plane may have jumped', async (t) => {
  const desk = await Desk.open(t);
  const id = await desk.enqueue();
  await desk.sql(`update triggerfs.queue_items set accepted_at = now() - interval '90 s'`);
  t.mock.timers.enable({ apis: ['Date'], now: 0 });
  const { age_ms: age } = await desk.claim(id);
  assert.ok(age >= 90_000 && age < 120_000, `${age} ms`);
});

test('of many attempts that found no worker the newest are kept, and all that a worker may have begun', async (t) => {
  const desk = await Desk.open(t);
  const id = await desk.enqueue();
  let losses = 0;
  for (let n = 1; n <= 30; n += 1) {
    await desk.sql('delete from triggerfs.queue_holds');
    const claim = await desk.claim(id);
    assert.deepEqual([claim.action, claim.attempt, claim.losses], ['run', n, losses]);
    const lost = n % 10 === 1;
    if (lost) losses += 1;
    const error = lost ? 'TFS_WORKER_LOST' : 'TFS_NO_WORKER';
    const outcome = { id, attempt: n, state: 'queued', verdict: 'no-worker', exitCode: 69, error, hold: !lost, delayMs: 0, sends: 1 };
    await desk.sql('select triggerfs.queue_settle($1, $2)', [JSON.stringify([outcome]), [null]]);
  }
  const attempts = await desk.attempts(id);
  const lost = attempts.filter(({ error }) => error === 'TFS_WORKER_LOST');
  assert.deepEqual(
    lost.map(({ attempt }) => attempt),
    [1, 11, 21],
  );
  assert.ok(attempts.length < 15, `${attempts.length} attempts`);
});
