import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { before } from 'node:test';
import type { HistoryPage, StatisticsAnswer } from '../../../protocol/http/history.ts';
import type { QueueAccepted, QueueList } from '../../../protocol/http/queue.ts';
import type { ScheduleView } from '../../../protocol/http/schedule.ts';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';
import { cliCommand, cliEnvironment } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';
import { normalTranscript } from './transcript.ts';

const GOLDEN = join(import.meta.dirname, 'golden', 'console.txt');

let system: System;
before(async (t) => {
  if (NO_TERMINAL === false) system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

/** Waits until the history holds so many invocations that have ended; returns the newest. */
async function ended(count: number): Promise<string> {
  return until(
    async () => {
      const { items } = await system.api<HistoryPage>('GET', '/v1/history');
      return items.filter(({ state }) => state === 'done').length === count && items[0]?.id;
    },
    { timeoutMs: 20_000, what: `${count} invocations in the history` },
  );
}

test('the console’s screens are those that docs/console.md shows', { skip: NO_TERMINAL, timeout: 110_000 }, async (t) => {
  const terminal = new Terminal(t, cliCommand(system.ready.config, []), { env: cliEnvironment(), columns: 230, rows: 60 });
  await terminal.see(/\(demo\) demo@127\.0\.0\.1\$ *\n*$/);
  const run = (line: string): Promise<void> => terminal.run(line);
  await run('sh wo');

  const commands = ['set services name s1', 'set services s1 timeout 10s', 'set workers identity w9'];
  await system.api('POST', '/v1/configuration/commit', { commands });
  for (const line of ['configure candidate', 'set services s1 timeout 5s', 'delete workers w9', 'show | compare']) await run(line);
  for (const line of ['commit confirmed 5 comment "shorter"', 'commit', 'exit']) await run(line);
  await run('show configuration | compare rollback 1');

  await run('request service demo plugin command/command command "echo hello; echo oops >&2; exit 3"');
  const failed = await ended(1);
  await run('show history service demo since 1h');
  await run(`show history ${failed}`);

  const body = { service: 'demo', plugin: 'command/command', payload: "echo begun; sleep 1; printf 'a red \\033[31mend\\n'", delay: '4s' };
  const { id } = await system.api<QueueAccepted>('POST', '/v1/invocations', body);
  await run(`monitor ${id}`);
  await ended(2);
  await run(`request replay ${id}`);
  await ended(3);
  await until(async () => (await system.api<QueueList>('GET', '/v1/queue')).counts.done === 2, { what: 'the queue is done' });
  await run('show queue');
  const { items: hours } = await system.api<StatisticsAnswer>('GET', '/v1/statistics?service=demo');
  assert.equal(
    hours.reduce((sum, { count }) => sum + count, 0),
    3,
  );
  await run('show statistics service nothing');

  await run('configure');
  await run('set schedules name nightly');
  await run('set schedules nightly cron "0 3 * * *" timezone Europe/Berlin');
  await run('set schedules nightly trigger /demo/command payload "echo good night"');
  await run('exit');
  await until(async () => (await system.api<ScheduleView>('GET', '/v1/schedules/nightly')).nextRunAt, { what: 'the next slot' });
  await run('show schedules');
  await run('request schedule nightly run');
  await ended(4);
  await run('request schedule nightly pause until 2h');
  await run('request schedule nightly resume');

  const golden = readFileSync(GOLDEN, 'utf8').trimEnd().split('\n');
  assert.deepEqual(normalTranscript(terminal.screen()).split('\n'), golden);
});
