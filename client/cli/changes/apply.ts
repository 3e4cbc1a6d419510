import { formatOperation } from '../../../protocol/configuration/format.ts';
import { isConfiguration, type Operation } from '../../../protocol/configuration/operations.ts';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type {
  ConfigurationCheck,
  ConfigurationChecked,
  ConfigurationCommit,
  ConfigurationCommitted,
} from '../../../protocol/http/configuration.ts';
import type { Call } from '../command.ts';
import { type Answer, shownTime, text } from '../screen/answer.ts';
import { applyDirectly } from './direct.ts';
import { resultLines } from './results.ts';

/** A large team in one text takes its time. */
const COMMIT_MS = 120_000;

/** Makes one change at once, or adds it to the candidate. What is no configuration (users, invites, tokens) is always done at once. */
export async function applyChange(call: Call, operation: Operation): Promise<Answer | null> {
  if (!isConfiguration(operation)) {
    const answer = await applyDirectly(call, operation);
    call.shell.namesChanged();
    return answer;
  }
  const command = formatOperation(operation);
  if (call.shell.editing === 'immediate') return applyNow(call, command);
  await addToCandidate(call, [command]);
  return null;
}

/** Adds commands to the candidate once the server has tried them. @throws TriggerFsError naming line and command */
export async function addToCandidate(call: Call, commands: readonly string[]): Promise<void> {
  const candidate = [...call.shell.candidate, ...commands];
  // Whoever goes on working keeps the others out for as long.
  if (call.shell.editing === 'exclusive') await call.connection.call({ method: 'POST', path: '/v1/configuration/lock', body: {} });
  await check(call, { commands: candidate });
  call.shell.setCandidate(candidate);
}

/** Lets the server try commands, or a rollback, without keeping anything. @throws TriggerFsError naming line and command */
export async function check(call: Call, body: ConfigurationCheck): Promise<ConfigurationChecked> {
  const request = { method: 'POST', path: '/v1/configuration/check', body, timeoutMs: COMMIT_MS } as const;
  return call.connection.call(request);
}

/** Commits commands, all or none, and says what came of it. @throws TriggerFsError naming line and command */
export async function commit(call: Call, body: ConfigurationCommit): Promise<Answer> {
  const request = { method: 'POST', path: '/v1/configuration/commit', body, timeoutMs: COMMIT_MS } as const;
  const committed = await call.connection.call<ConfigurationCommitted>(request);
  call.shell.namesChanged();
  const lines = resultLines(await call.connection.team(), committed.results);
  if (committed.confirmBy !== null) {
    lines.push(`It is rolled back at ${shownTime(committed.confirmBy)} unless it is confirmed: enter commit once more.`);
  }
  return text(lines, committed);
}

/** One command: its place in a text of one line says nothing. */
async function applyNow(call: Call, command: string): Promise<Answer | null> {
  try {
    return await commit(call, { commands: [command] });
  } catch (thrown) {
    const error = TriggerFsError.from(thrown);
    const place = /^line 1, ".*": (.+)$/s.exec(error.message);
    throw place === null ? error : new TriggerFsError(error.code, place[1] as string, { cause: error });
  }
}
