import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '../../runtime/logging.ts';
import { Book } from '../../worker-agent/schedules/book.ts';
import type { JournalFire, NewFire } from '../../worker-agent/schedules/fire.ts';
import { FireRecorder } from '../../worker-agent/schedules/fire-recorder.ts';
import { Fires } from '../../worker-agent/schedules/fires.ts';
import { Journal } from '../../worker-agent/schedules/journal.ts';
import { lastFirst } from '../support/last-first.ts';
import { definition } from './resident-definition.ts';

const START = 1_000_000_000_000;
const log = silentLogger();

interface Stage {
  readonly journal: Journal;
  readonly fires: Fires;
  readonly recorder: FireRecorder;
  readonly started: JournalFire[];
}

/** A journal of at most so many pages with one schedule, and runs that begin but do nothing. */
function stage(test: TestContext, options: { pages?: number; limit?: number; path?: string } = {}): Stage {
  const t = lastFirst(test);
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-journal-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const journal = new Journal(options.path ?? join(folder, 'journal.db'), options.pages ?? 10_000);
  t.after(() => journal.close());
  const book = new Book(journal, log);
  const schedule = definition({ everyMs: 1_000, anchor: START, from: START, catchup: 'one', offlineMs: Number.MAX_SAFE_INTEGER });
  book.take({ version: 1, keep: 1, schedules: [{ schedule: 1, generation: 1 }] }, [schedule]);
  const recorder = new FireRecorder({ journal, limit: options.limit ?? 1e9, ended: () => undefined, log });
  t.after(() => recorder.stop());
  const fires = new Fires({ journal, book, recorder, reported: () => undefined, log });
  const started: JournalFire[] = [];
  fires.start({ start: (fire) => void started.push(fire) });
  return { journal, fires, recorder, started };
}

function end(fires: Fires, fire: JournalFire): void {
  const times = { startedAt: fire.at, endedAt: fire.at, durationUs: 1 };
  fires.ended(fire, { verdict: 'ok', exitCode: 0, signal: 0, error: 0, detail: '', ...times });
}

test('a slot stands in the journal before it runs, together with the place to go on from', (t) => {
  const { journal, fires, started } = stage(t);
  assert.equal(fires.check(START + 1_010), true);
  const [fire] = started;
  assert.deepEqual(
    journal.openFires().map(({ due, outcome, waits }) => [due, outcome, waits]),
    [[START + 1_000, 'fired', false]],
  );
  assert.equal(journal.schedules()[0]?.held.last, START + 1_000);
  end(fires, fire as JournalFire);
  assert.equal(fires.check(START + 1_020), true);
  assert.equal(started.length, 1);
});

test('a full journal: output gives way first; then nothing fires, and everything is accounted for when there is room', (t) => {
  const { journal, fires, recorder, started } = stage(t, { pages: 60 });
  const block = Buffer.alloc(60_000, 'x');
  let now = START;
  for (let slot = 1; slot <= 20; slot += 1) {
    now = START + slot * 1_000;
    assert.equal(fires.check(now), true, `slot ${slot} with output in the way`);
    const fire = started.at(-1) as JournalFire;
    fires.output(fire, 0, block, 0, block.length);
    end(fires, fire);
    recorder.flush();
  }
  assert.equal(started.length, 20);
  const ended = journal.endedFires(100);
  assert.equal(ended.length, 20, 'no fact of a fire is lost');
  assert.ok(ended.some(({ end: told }) => (told?.droppedBytes ?? 0) > 0));

  const filler: NewFire = {
    schedule: 2,
    generation: 1,
    due: 0,
    through: null,
    outcome: 'missed',
    reason: '',
    at: 0,
    run: null,
    waits: false,
  };
  const sequences: number[] = [];
  for (let bytes = 1; bytes > 0; ) bytes = journal.dropOldestOutput();
  // Large ones first, then small ones into the gaps that they leave.
  for (const reason of ['x'.repeat(900), '']) {
    try {
      for (;;) sequences.push(journal.insertFire({ ...filler, reason, due: sequences.length }));
    } catch (error) {
      assert.match((error as Error).message, /full/);
    }
  }
  assert.equal(fires.check(now + 1_000), false);
  assert.equal(fires.check(now + 4_000), false);
  assert.equal(started.length, 20, 'what is not written down is not run');
  assert.equal(journal.schedules()[0]?.held.last, now);

  for (const sequence of sequences) journal.deleteFire(sequence);
  assert.equal(fires.check(now + 5_500), true);
  assert.equal(started.length, 21);
  assert.equal(started.at(-1)?.due, now + 5_000);
  assert.deepEqual(
    journal
      .endedFires(100)
      .slice(20)
      .map(({ due, outcome }) => [due - now, outcome]),
    [1, 2, 3, 4].map((second) => [second * 1_000, 'missed']),
  );
});

test('what is in the journal when it is opened: begun runs are lost, waiting ones go on', (t) => {
  const first = stage(t);
  const { journal } = first;
  const run = { name: 'tick', service: 'demo', plugin: 'tick/tick', args: {}, payload: '', timeoutMs: 1 };
  const entry = { schedule: 1, generation: 1, through: null, outcome: 'fired', reason: '', at: START, run } as const;
  journal.insertFire({ ...entry, due: START + 1_000, waits: false });
  journal.insertFire({ ...entry, due: START + 2_000, waits: true });
  journal.insertFire({ ...entry, due: START + 3_000, waits: true });
  const started: JournalFire[] = [];
  const book = new Book(journal, log);
  const fires = new Fires({ journal, book, recorder: first.recorder, reported: () => undefined, log });
  fires.start({ start: (fire) => void started.push(fire) });
  assert.deepEqual(
    journal.endedFires(10).map(({ due, end: told }) => [due - START, told?.verdict]),
    [[1_000, 'worker-lost']],
  );
  assert.deepEqual(
    started.map(({ due }) => due - START),
    [2_000],
  );
  end(fires, started[0] as JournalFire);
  assert.deepEqual(
    started.map(({ due }) => due - START),
    [2_000, 3_000],
  );
});

test('lists: older ones within a minute do not count, and definitions count only with their list', (t) => {
  const { journal } = stage(t);
  const book = new Book(journal, log);
  const other = definition({ schedule: 7, everyMs: 1_000, from: START, anchor: START });
  const both = [
    { schedule: 1, generation: 1 },
    { schedule: 7, generation: 1 },
  ];
  assert.deepEqual(book.take({ version: 5, keep: 1, schedules: both }, [other])?.put.length, 1);
  assert.equal(book.take({ version: 4, keep: 1, schedules: [] }, []), null);
  assert.equal(book.keepers.size, 2);
  assert.equal(book.take({ version: 5, keep: 1 }, []), null);
  assert.deepEqual(book.take({ version: 6, keep: 1, schedules: [{ schedule: 7, generation: 1 }] }, [])?.released, [1]);
  assert.deepEqual(
    journal.releases().map(({ schedule }) => schedule),
    [1],
  );
  assert.equal(book.take({ version: 7, keep: 1, schedules: [{ schedule: 7, generation: 2 }] }, [other])?.released[0], 7);
  assert.equal(book.keepers.size, 0);
});

test('a rule that cannot be read is reported as missed, and the others go on', (t) => {
  const { journal } = stage(t);
  const book = new Book(journal, log);
  const broken = definition({ schedule: 8, name: 'broken', cron: '99 99 * * *' });
  const both = [
    { schedule: 1, generation: 1 },
    { schedule: 8, generation: 1 },
  ];
  assert.deepEqual(book.take({ version: 9, keep: 1, schedules: both }, [broken])?.put, []);
  assert.deepEqual([...book.keepers.keys()], [1]);
  const [told] = journal.endedFires(10);
  assert.deepEqual([told?.schedule, told?.outcome], [8, 'missed']);
  assert.match(told?.reason ?? '', /^its rule cannot be read: /);
  book.take({ version: 10, keep: 1, schedules: both }, [broken]);
  new Book(journal, log).take({ version: 10, keep: 1, schedules: both }, [broken]);
  assert.equal(journal.endedFires(10).length, 1, 'it is told once');
});

test('the time without a word goes on through contested lists and confirmations of other versions', async (t) => {
  const { journal } = stage(t);
  const book = new Book(journal, log);
  const schedules = [{ schedule: 1, generation: 1 }];
  book.take({ version: 2, keep: 1, schedules }, []);
  await new Promise((resolve) => setTimeout(resolve, 30));
  const before = book.silence();
  book.take({ version: 3, keep: 1, schedules, contested: true }, []);
  book.take({ version: 2, keep: 1 }, []);
  assert.ok(book.silence() >= before);
  book.take({ version: 3, keep: 1 }, []);
  assert.ok(book.silence() < before);
});
