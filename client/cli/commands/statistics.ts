import type { StatisticsAnswer, StatisticsHour } from '../../../protocol/http/history.ts';
import { formatDuration } from '../../../protocol/quantity.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, shownTime, table } from '../screen/answer.ts';
import { queryOf, sinceOf } from './query.ts';

const HOURS: readonly Column<StatisticsHour>[] = [
  { title: 'hour', of: ({ hour }) => shownTime(hour) },
  { title: 'service', of: ({ service }) => service },
  { title: 'count', of: ({ count }) => count },
  { title: 'failures', of: ({ failures }) => failures },
  { title: 'p50', of: ({ p50Ms }) => formatDuration(p50Ms) },
  { title: 'p95', of: ({ p95Ms }) => formatDuration(p95Ms) },
];

/** How often services were called, how long it took and how often it failed. */
export const STATISTICS: readonly Command[] = [
  {
    pattern: 'show statistics',
    doc: 'How often each service ran, failed and how long it took, by hour',
    options: {
      service: { value: 'service', doc: 'Only this service' },
      since: { value: 'duration', doc: 'So long ago at most, such as 7d; 24h when absent' },
    },
    modes: EVERYWHERE,
    run: showStatistics,
  },
];

async function showStatistics(call: Call): Promise<Answer> {
  const path = `/v1/statistics${queryOf({ service: call.options.service, since: call.options.since?.map(sinceOf) })}`;
  const { items } = await call.connection.call<StatisticsAnswer>({ method: 'GET', path, signal: call.signal });
  return table(HOURS, items);
}
