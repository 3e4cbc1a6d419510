import type { Static } from 'typebox';
import { QUEUE_STATES, type QueueList, type QueueRedriven, type QueueSummary, type QueueView } from '../../../protocol/http/queue.ts';
import { formatDuration } from '../../../protocol/quantity.ts';
import { harmless } from '../../program/terminal-text.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import type { OptionSyntax } from '../grammar/command-tree.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';
import { recordLines } from '../screen/record-lines.ts';
import { queryOf } from './query.ts';

const FILTERS: Readonly<Record<string, OptionSyntax>> = {
  service: { value: 'service', doc: 'Only those of this service' },
  caller: { value: 'user', doc: 'Only those that this user asked for' },
  limit: { value: 'number', doc: 'How many at most; 50 when absent' },
};

const QUEUE: readonly Column<QueueSummary>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'state', of: ({ state }) => state },
  { title: 'service', of: ({ service }) => service },
  { title: 'plugin', of: ({ plugin }) => plugin },
  { title: 'from', of: ({ source, caller }) => (caller === '' ? source : `${source} ${caller}`) },
  { title: 'accepted', of: ({ acceptedAt }) => shownTime(acceptedAt) },
  { title: 'due', of: ({ dueAt }) => shownTime(dueAt) },
  { title: 'attempt', of: ({ attempt }) => attempt },
  { title: 'left', of: ({ retriesLeft }) => retriesLeft },
  { title: 'verdict', of: ({ verdict }) => verdict ?? '' },
  { title: 'reason', of: ({ error, detail }) => [error, detail].filter((part) => part !== null && part !== '').join(': ') },
];

/** Commands about what was accepted for later. */
export const QUEUE_COMMANDS: readonly Command[] = [
  { pattern: 'show queue', doc: 'What was accepted for later, the newest first', options: FILTERS, modes: EVERYWHERE, run: showQueue },
  {
    pattern: `show queue <state:${QUEUE_STATES.join('|')}>`,
    doc: 'What of it is in one state',
    options: FILTERS,
    modes: EVERYWHERE,
    run: showQueue,
  },
  { pattern: 'show queue <queued>', doc: 'One of them with its attempts and its result', modes: EVERYWHERE, run: showItem },
  {
    pattern: 'request queue redrive <dead>',
    doc: 'Try one again that has failed, expired or was cancelled',
    modes: EVERYWHERE,
    run: redrive,
  },
  {
    pattern: 'request queue redrive service <service>',
    doc: 'Try all dead letters of a service again',
    modes: EVERYWHERE,
    run: redriveService,
  },
  { pattern: 'request queue cancel <queued>', doc: 'Cancel one that waits or runs', modes: EVERYWHERE, run: cancel },
];

async function showQueue(call: Call): Promise<Answer> {
  const { state } = call.values;
  const path = `/v1/queue${queryOf({ ...call.options, ...(state === undefined ? {} : { state: [state] }) })}`;
  const { items, next, counts, oldestAgeMs } = await call.connection.call<QueueList>({ method: 'GET', path, signal: call.signal });
  const summary = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  const notes = [`In all: ${summary.join(', ')}`];
  if (oldestAgeMs > 0) notes.push(`The oldest that is due waits for ${formatDuration(oldestAgeMs)}`);
  if (next !== null) notes.push('There are more: narrow it down, or give a higher limit.');
  return table(QUEUE, items, notes);
}

async function showItem(call: Call): Promise<Answer> {
  const found = await call.connection.call<QueueView>({ method: 'GET', path: pathOf(call.values.queued), signal: call.signal });
  const { attempts, result, ...others } = found;
  const lines = recordLines(others);
  for (const { attempt, worker, verdict, exitCode, startedAt, invocation, detail, sends } of attempts) {
    // Whoever had it was lost, or has lost its lease; whether it ran, nobody knows.
    const open = found.state === 'running' && attempt === found.attempt ? 'running' : 'perhaps lost: its end is not known';
    const end = verdict === null ? open : `${verdict}, exit code ${exitCode ?? ''}`;
    const where = `${worker === '' ? '' : ` on ${worker}`}${sends > 1 ? `, sent ${sends} times` : ''}`;
    lines.push(
      `attempt ${attempt}${where} at ${shownTime(startedAt)}: ${end}${detail === '' ? '' : `: ${harmless(detail)}`} (${invocation})`,
    );
  }
  if (result !== null) lines.push('', ...outputLines(result.output), ...outputLines(result.stderr));
  return text(lines, found);
}

function outputLines(output: string): string[] {
  return output === '' ? [] : output.replace(/\n$/, '').split('\n').map(harmless);
}

async function redrive(call: Call): Promise<Answer> {
  const { id } = await call.connection.call<QueueView>({ method: 'POST', path: `${pathOf(call.values.dead)}/redrive` });
  return text([`It is queued again; to watch it, enter: monitor ${id}`], { id });
}

async function redriveService(call: Call): Promise<Answer> {
  const body = { service: call.values.service };
  const answer = await call.connection.call<Static<typeof QueueRedriven>>({ method: 'POST', path: '/v1/queue/redrive', body });
  return text([`${answer.redriven} are queued again`], answer);
}

async function cancel(call: Call): Promise<Answer> {
  const { id, state } = await call.connection.call<QueueView>({ method: 'DELETE', path: pathOf(call.values.queued) });
  return text([state === 'running' ? `${id} is being cancelled` : `${id} is ${state}`], { id, state });
}

function pathOf(id = ''): string {
  return `/v1/invocations/${encodeURIComponent(id)}`;
}
