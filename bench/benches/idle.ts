import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type BenchReport, compare } from '../report/comparison.ts';
import { cpuSeconds, residentMiB } from '../stage/processes.ts';
import { RoleProcess } from '../stage/role.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';

const WORKERS = 1000;
const REGION = 'idle';
const OPEN_MS = 120_000;
/** After ten quiet seconds the control-plane looks less often. */
const SETTLE_MS = 12_000;

/** A thousand idle workers on one broker: its memory and CPU, and what the whole system asks the database. */
export const idle: Bench = {
  name: 'idle',
  doc: `${WORKERS} idle workers on one broker: memory, CPU, queries`,
  async run({ stage, platform }: BenchContext): Promise<BenchReport> {
    const { seconds, rounds } = stage.settings;
    const started = await platform();
    const content = await started.team('idle');
    const names = Array.from({ length: WORKERS }, (_, number) => `idle-${number}`);
    const workers = await content.service('idle-service', names);
    const broker = await started.broker('idle-broker', REGION);
    const alone = residentMiB(broker.program.pid);
    stage.progress(`idle: ${WORKERS} sessions`);
    const role = await RoleProcess.start(stage, 'idle-workers', { api: started.api, team: content.account.team, region: REGION, workers });
    await until(`${WORKERS} open sessions`, async () => (await role.call(null)) === WORKERS, OPEN_MS);
    const counter = new pg.Client({ connectionString: started.databaseUrl });
    await counter.connect();
    stage.add('counter of transactions', () => counter.end());
    await sleep(SETTLE_MS);
    const startedAt = performance.now();
    const asked = await transactions(counter);
    const memory: number[] = [];
    const cpu: number[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      stage.progress(`idle: round ${round} of ${rounds}`);
      const before = cpuSeconds(broker.program.pid);
      await sleep(seconds * 1000);
      cpu.push(((cpuSeconds(broker.program.pid) - before) / seconds) * 100);
      memory.push(residentMiB(broker.program.pid));
    }
    const perSecond = (((await transactions(counter)) - asked) * 1000) / (performance.now() - startedAt);
    const open = (await role.call(null)) as number;
    if (open !== WORKERS) throw new Error(`only ${open} of ${WORKERS} sessions stayed open`);
    await role.program.stop();
    return {
      comparisons: [
        compare(`broker with ${WORKERS} idle workers, memory`, 'mebibytes', memory, null, {
          direction: 'at most',
          limit: 256,
          of: 'figure',
        }),
        compare(`broker with ${WORKERS} idle workers, CPU`, 'percent', cpu, null, null),
        compare(`whole system with ${WORKERS} idle workers, database transactions`, 'per second', [perSecond], null, {
          direction: 'at most',
          limit: 5,
          of: 'figure',
        }),
      ],
      skipped: [],
      notes: [`the broker has ${alone.toFixed(0)} MiB before the first worker comes; CPU is of one core`],
    };
  },
};

/** Transactions of this database so far, those of PostgreSQL's own workers among them. */
async function transactions(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    'select xact_commit + xact_rollback as count from pg_stat_database where datname = current_database()',
  );
  return Number(rows[0]?.count);
}
