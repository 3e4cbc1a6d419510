import { readFileSync } from 'node:fs';
import type { Static } from 'typebox';
import { parseCommands } from '../../../protocol/configuration/parse.ts';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type {
  CommitPage,
  CommitReference,
  CommitView,
  ConfigurationRolledBack,
  ConfigurationView,
} from '../../../protocol/http/configuration.ts';
import { addToCandidate, check, commit } from '../changes/apply.ts';
import { compare } from '../changes/compare.ts';
import { type Call, type Command, type Editing, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';

const COMMENT = { comment: { value: 'text', doc: 'Why, for the log' } } as const;
const MAX_MINUTES = 1440;

/** Commands about the configuration as a whole. */
export const COMMIT: readonly Command[] = [
  {
    pattern: 'configure',
    doc: 'Change things; every change takes effect at once',
    modes: ['run'],
    run: (call) => enter(call, 'immediate'),
  },
  { pattern: 'configure candidate', doc: 'Collect changes until commit', modes: ['run'], run: (call) => enter(call, 'candidate') },
  {
    pattern: 'configure exclusive',
    doc: 'Collect changes until commit, and keep others from committing meanwhile',
    modes: ['run'],
    run: (call) => enter(call, 'exclusive'),
  },
  {
    pattern: 'show',
    doc: 'Show what is collected; with | compare, what it changes',
    modes: ['configure'],
    compares: true,
    run: showCandidate,
  },
  {
    pattern: 'show configuration',
    doc: 'Show the team as commands that rebuild it',
    modes: EVERYWHERE,
    compares: true,
    run: showConfiguration,
  },
  { pattern: 'show log commit', doc: 'Show who changed what', modes: EVERYWHERE, run: showLog },
  {
    pattern: 'commit',
    doc: 'Make the collected changes, or confirm them',
    options: COMMENT,
    modes: ['configure'],
    run: (call) => commitAll(call),
  },
  { pattern: 'commit check', doc: 'Try the collected changes', modes: ['configure'], run: commitCheck },
  {
    pattern: 'commit confirmed <minutes>',
    doc: 'Make the collected changes, and undo them unless commit follows in time',
    options: COMMENT,
    modes: ['configure'],
    run: (call) => commitAll(call, minutesOf(call.values.minutes ?? '')),
  },
  {
    pattern: 'rollback <number>',
    doc: '0 forgets what is collected, 1 goes back to before the last commit, 2 to the one before, and so on',
    modes: ['configure'],
    run: rollback,
  },
  { pattern: 'load <file>', doc: 'Make the changes of a file, all or none', modes: ['configure'], run: load },
];

async function enter(call: Call, editing: Editing): Promise<Answer | null> {
  const { lock, pending } = editing === 'immediate' ? { lock: null, pending: null } : await configuration(call);
  await call.shell.enter(editing);
  const lines: string[] = [];
  if (editing === 'candidate' && lock !== null)
    lines.push(`Notice: ${lock.holder} holds the configuration until ${shownTime(lock.expiresAt)}.`);
  if (pending !== null)
    lines.push(`Notice: a commit of ${pending.author} is rolled back at ${shownTime(pending.confirmBy)} unless it is confirmed.`);
  return lines.length === 0 ? null : text(lines);
}

function configuration(call: Call): Promise<ConfigurationView> {
  return call.connection.call({ method: 'GET', path: '/v1/configuration', signal: call.signal });
}

async function showCandidate(call: Call): Promise<Answer> {
  const { compare: back } = call.pipeline;
  if (back === null || back === 0) assertCandidate(call);
  return back === null ? text(call.shell.candidate) : compare(call, back);
}

async function showConfiguration(call: Call): Promise<Answer> {
  const { compare: back } = call.pipeline;
  if (back !== null) return compare(call, back);
  const view = await configuration(call);
  return text(view.commands, view);
}

async function commitCheck(call: Call): Promise<Answer> {
  assertCandidate(call);
  if (call.shell.candidate.length > 0) await check(call, { commands: [...call.shell.candidate] });
  return text(['configuration check succeeds'], { ok: true });
}

async function commitAll(call: Call, confirmMinutes?: number): Promise<Answer> {
  const { shell, options } = call;
  if (shell.candidate.length === 0) return confirm(call, confirmMinutes !== undefined);
  const comment = options.comment?.at(-1);
  const answer = await commit(call, {
    commands: [...shell.candidate],
    ...(comment === undefined ? {} : { comment }),
    ...(confirmMinutes === undefined ? {} : { confirmMinutes }),
  });
  shell.setCandidate([]);
  return answer.kind === 'text' ? text([...answer.lines, 'commit complete'], answer.value) : answer;
}

/** `commit` without changes confirms the commit that waits for it. */
async function confirm(call: Call, again: boolean): Promise<Answer> {
  const { pending } = await configuration(call);
  if (again || pending === null) {
    const hint = call.shell.editing === 'immediate' ? ': changes take effect at once; configure candidate collects them' : '';
    throw new TriggerFsError('TFS_USAGE', `there is nothing to commit${hint}`);
  }
  const { id } = await call.connection.call<Static<typeof CommitReference>>({ method: 'POST', path: '/v1/configuration/confirm' });
  return text([`commit ${id} confirmed`], { id });
}

async function rollback(call: Call): Promise<Answer | null> {
  const number = Number(call.values.number);
  if (!Number.isInteger(number) || number < 0) throw new TriggerFsError('TFS_USAGE', `rollback takes a number, not ${call.values.number}`);
  if (number === 0) {
    assertCandidate(call);
    call.shell.setCandidate([]);
    return null;
  }
  if (call.shell.candidate.length > 0)
    throw new TriggerFsError('TFS_USAGE', 'changes are collected: commit them, or forget them with rollback 0');
  const request = { method: 'POST', path: '/v1/configuration/rollback', body: { number } } as const;
  const { id, notices } = await call.connection.call<ConfigurationRolledBack>(request);
  call.shell.namesChanged();
  return text([...notices.map((notice) => `Notice: ${notice}`), `rollback complete (commit ${id})`], { id, notices });
}

async function load(call: Call): Promise<Answer> {
  const { file = '' } = call.values;
  const commands = readLines(file);
  const count = parseCommands(commands).length;
  if (call.shell.editing !== 'immediate') {
    await addToCandidate(
      call,
      commands.filter((line) => line.trim() !== ''),
    );
    return text([`${count} commands are collected`], { commands: count });
  }
  if (count === 0) return text(['the file holds no commands'], { commands: 0 });
  const answer = await commit(call, { commands, comment: `load ${file}` });
  return answer.kind === 'text' ? text([...answer.lines, `load complete (${count} commands)`], answer.value) : answer;
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/);
  } catch (cause) {
    throw new TriggerFsError('TFS_USAGE', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

const LOG: readonly Column<CommitView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'time', of: ({ createdAt }) => shownTime(createdAt) },
  { title: 'user', of: ({ author }) => author },
  { title: 'from', of: ({ address }) => address },
  { title: 'state', of: ({ kind, state }) => (kind === 'commit' ? state : `${kind} ${state}`) },
  { title: 'comment', of: ({ comment }) => comment },
  {
    title: 'commands',
    of: ({ commands }) => (commands.length > 1 ? `${commands[0]} (and ${commands.length - 1} more)` : (commands[0] ?? '')),
  },
];

async function showLog(call: Call): Promise<Answer> {
  const { items } = await call.connection.call<Static<typeof CommitPage>>({
    method: 'GET',
    path: '/v1/configuration/commits',
    signal: call.signal,
  });
  return table(LOG, items);
}

function assertCandidate({ shell }: Call): void {
  if (shell.editing === 'immediate') throw new TriggerFsError('TFS_USAGE', 'nothing is collected here: enter configure candidate first');
}

function minutesOf(given: string): number {
  const minutes = Number(given);
  if (Number.isInteger(minutes) && minutes >= 1 && minutes <= MAX_MINUTES) return minutes;
  throw new TriggerFsError('TFS_USAGE', `commit confirmed takes 1 to ${MAX_MINUTES} minutes, not ${given}`);
}
