import {
  type HistoryInvocation,
  type HistoryItem,
  type HistoryPage,
  INVOCATION_SOURCES,
  type ReplayAnswer,
} from '../../../protocol/http/history.ts';
import { formatDuration } from '../../../protocol/quantity.ts';
import { VERDICT_NAMES } from '../../../protocol/verdicts.ts';
import { Attachment } from '../../attachment.ts';
import { Follower } from '../../follower.ts';
import { harmless } from '../../program/terminal-text.ts';
import { ScreenWatcher } from '../../program/watch.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import type { OptionSyntax } from '../grammar/command-tree.ts';
import { LiveOutput } from '../live-output.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';
import { recordLines } from '../screen/record-lines.ts';
import { queryOf, sinceOf } from './query.ts';
import { RequestFailed } from './request.ts';

/** Output that `show history ID` holds at once. */
const SHOWN_BYTES = 256 * 1024;

const FILTERS: Readonly<Record<string, OptionSyntax>> = {
  service: { value: 'service', doc: 'Only those of this service' },
  worker: { value: 'worker', doc: 'Only those that this worker ran' },
  trigger: { value: 'trigger', doc: 'Only those of this trigger file' },
  plugin: { value: 'plugin', doc: 'Only those of this plugin' },
  verdict: { value: 'verdict', choices: [...VERDICT_NAMES, 'running'], doc: 'Only those that ended so' },
  caller: { value: 'user', doc: 'Only those that this user asked for' },
  source: { value: 'source', choices: INVOCATION_SOURCES, doc: 'Only those that came in so' },
  since: { value: 'duration', doc: 'So long ago at most, such as 1h, or since a time' },
  until: { value: 'duration', doc: 'So long ago at least, or until a time' },
  limit: { value: 'number', doc: 'How many at most; 50 when absent' },
};

const HISTORY: readonly Column<HistoryItem>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'accepted', of: ({ acceptedAt }) => shownTime(acceptedAt) },
  { title: 'service', of: ({ service }) => service },
  { title: 'plugin', of: ({ plugin }) => plugin },
  { title: 'from', of: ({ source, caller }) => (caller === '' ? source : `${source} ${caller}`) },
  { title: 'workers', of: ({ workers }) => workers.join(', ') },
  { title: 'verdict', of: ({ verdict, state }) => verdict ?? state },
  { title: 'exit', of: ({ exitCode }) => exitCode ?? '' },
  { title: 'took', of: ({ durationMs }) => (durationMs === null ? '' : formatDuration(durationMs)) },
  { title: 'bytes', of: ({ outputBytes }) => outputBytes },
];

/** Commands about what ran, and what it said. */
export const HISTORY_COMMANDS: readonly Command[] = [
  { pattern: 'show history', doc: 'What ran, the newest first', options: FILTERS, modes: EVERYWHERE, run: showHistory },
  { pattern: 'show history <invocation>', doc: 'An invocation with its runs and output', modes: EVERYWHERE, run: showInvocation },
  {
    pattern: 'monitor <invocation>',
    doc: 'Watch an invocation from its first byte on, then live; Ctrl-C leaves it alone',
    modes: EVERYWHERE,
    run: monitor,
  },
  { pattern: 'request replay <invocation>', doc: 'Ask for the same once more, with the same input', modes: EVERYWHERE, run: replay },
];

async function showHistory(call: Call): Promise<Answer> {
  const { since, until, ...others } = call.options;
  const path = `/v1/history${queryOf({ ...others, since: since?.map(sinceOf), until: until?.map(sinceOf) })}`;
  const { items, next } = await call.connection.call<HistoryPage>({ method: 'GET', path, signal: call.signal });
  return table(HISTORY, items, next === null ? [] : ['There are more: narrow it down, or give a higher limit.']);
}

async function showInvocation(call: Call): Promise<Answer> {
  const { invocation = '' } = call.values;
  const path = `/v1/history/${encodeURIComponent(invocation)}`;
  const found = await call.connection.call<HistoryInvocation>({ method: 'GET', path, signal: call.signal });
  const { runs, queue, ...others } = found;
  const lines = recordLines({
    ...others,
    queue: queue === null ? null : `${queue.state}, attempt ${queue.attempt} of ${queue.attempts.length}`,
  });
  for (const run of runs) {
    const end =
      run.verdict === null ? 'running' : `${run.verdict}, exit code ${run.exitCode ?? ''}, ${formatDuration(run.durationMs ?? 0)}`;
    lines.push(`run on ${run.worker} (attempt ${run.attempt}): ${end}${run.detail === '' ? '' : `: ${harmless(run.detail)}`}`);
  }
  if (!found.outputKept || call.pipeline.json) return text(lines, found);
  return text([...lines, '', ...(await outputLines(call, invocation))], found);
}

/** Lines of the output as far as there is some now, with what could change a terminal made visible. */
async function outputLines(call: Call, id: string): Promise<string[]> {
  const partial = new Map<string, string>();
  const lines: string[] = [];
  let bytes = 0;
  for await (const event of new Follower(call.connection.caller, id, call.signal, false).events()) {
    if (event.event === 'gap') lines.push(`[${event.worker}] output is missing here: it was lost before it could be kept`);
    if (event.event !== 'output') continue;
    const data = Buffer.from(event.data, event.encoding ?? 'utf8');
    const prefix = `[${event.worker}${event.stream === 'stderr' ? ' stderr' : ''}] `;
    const parts = ((partial.get(prefix) ?? '') + data.toString('utf8')).split('\n');
    partial.set(prefix, parts.pop() ?? '');
    for (const part of parts) lines.push(prefix + harmless(part.replace(/\r$/, '')));
    bytes += data.length;
    if (bytes < SHOWN_BYTES) continue;
    lines.push(`There is more: monitor ${id}`);
    return lines;
  }
  for (const [prefix, rest] of partial) if (rest !== '') lines.push(prefix + harmless(rest));
  return lines;
}

/** What is left ends nothing; who stays has the exit code of the plugin. */
async function monitor(call: Call): Promise<null> {
  const { screen, connection, signal, values } = call;
  const live = new LiveOutput(call);
  const notice = (said: string): void => screen.err.write(`${said}\n`);
  const watcher = new ScreenWatcher((order) => live.screen(order), [live.out, screen.err], notice);
  const exitCode = await new Attachment(connection.caller, watcher, signal).run(values.invocation ?? '');
  await live.end();
  if (exitCode !== 0) throw new RequestFailed(exitCode);
  return null;
}

async function replay(call: Call): Promise<Answer> {
  const path = `/v1/history/${encodeURIComponent(call.values.invocation ?? '')}/replay`;
  const made = await call.connection.call<ReplayAnswer>({ method: 'POST', path });
  return text([`It runs once more as ${made.id}; to watch it, enter: monitor ${made.id}`], made);
}
