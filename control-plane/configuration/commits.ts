import { createHash } from 'node:crypto';
import { isConfiguration } from '../../protocol/configuration/operations.ts';
import { errorAtLine, type ParsedCommand, parseCommands } from '../../protocol/configuration/parse.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import type {
  CommandResult,
  ConfigurationCheck,
  ConfigurationChecked,
  ConfigurationCommit,
  ConfigurationCommitted,
  ConfigurationRolledBack,
  ConfigurationView,
} from '../../protocol/http/configuration.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Database, Transaction } from '../database.ts';
import { fromDatabase } from '../http/database-errors.ts';
import { Applier } from './apply.ts';
import * as repository from './repository.ts';
import { restoreSnapshot } from './restore.ts';
import { findSnapshot, readSnapshot, type Snapshot, saveSnapshot, snapshotOf } from './snapshot.ts';

/** Characters of a comment that the log holds. */
const MAX_COMMENT = 1000;

/** Ends the transaction of a check without keeping anything. */
class Rehearsed extends Error {
  readonly checked: ConfigurationChecked;

  constructor(checked: ConfigurationChecked) {
    super('rehearsed');
    this.checked = checked;
  }
}

/**
 * Commits of a team's configuration. Each is one transaction: the snapshot before, all commands, the entry in the log.
 * A rollback restores the whole team, whoever owns what: by hand or at the end of a commit's waiting, it is for admins.
 *
 * A commit is `done` at once, or `pending` until its author or an admin makes it `confirmed`; otherwise `rollBackOverdue` makes it
 * `rolled-back`. While one is pending, or another user holds the lock, nobody commits: a rollback would undo that, too.
 */
export class Commits {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** What the caller sees of the configuration, and what keeps others from changing it. */
  view(principal: Principal): Promise<ConfigurationView> {
    return this.#database.inTeam(principal.teamId, async (tx) => {
      const commands = await repository.readCommands(tx, principal);
      const lock = await repository.currentLock(tx, principal.teamId);
      const pending = await repository.pendingCommit(tx, principal.teamId);
      return {
        version: versionOf(commands),
        commands: [...commands],
        lock: lock && { holder: lock.holder, expiresAt: lock.expiresAt },
        pending: pending && { id: pending.id, author: pending.author, confirmBy: pending.confirmBy },
      };
    });
  }

  /** Goes back and applies everything as asked, and takes it back. @throws TriggerFsError what `rollback` and `commit` would throw */
  async check(principal: Principal, { commands: lines = [], rollback, version }: ConfigurationCheck): Promise<ConfigurationChecked> {
    const commands = parse(lines);
    if (rollback !== undefined && !isAdmin(principal)) {
      throw new TriggerFsError('TFS_FORBIDDEN', 'earlier states hold what only its owners see: they are for admins and owners');
    }
    try {
      return await this.#database.inTeam(principal.teamId, async (tx) => {
        await repository.serialize(tx, principal.teamId);
        // Comparing with an earlier state is no change that somebody else could stand in the way of.
        if (commands.length > 0) await this.#admit(tx, principal, version);
        else await assertVersion(tx, principal, version);
        if (rollback !== undefined) await this.#restore(tx, principal, rollback);
        const results = await applyAll(tx, principal, commands);
        const after = await repository.readCommands(tx, principal);
        // New tokens end with this transaction.
        throw new Rehearsed({ results: results.map((result) => ({ ...result, worker: null })), commands: [...after] });
      });
    } catch (thrown) {
      if (thrown instanceof Rehearsed) return thrown.checked;
      throw thrown;
    }
  }

  /**
   * @throws TriggerFsError naming line and command, TFS_CONFLICT for a lock, a pending commit or another version, TFS_FORBIDDEN for
   * `confirmMinutes` of who may not roll back
   */
  async commit(principal: Principal, address: string, request: ConfigurationCommit): Promise<ConfigurationCommitted> {
    if (request.confirmMinutes !== undefined && !isAdmin(principal)) {
      const why = 'its rollback restores the whole team, so only admins and owners make one';
      throw new TriggerFsError('TFS_FORBIDDEN', `a ${principal.role} cannot make a commit that waits for its confirmation: ${why}`);
    }
    const commands = parse(request.commands);
    if (commands.length === 0) return { id: null, confirmBy: null, results: [] };
    return this.#database.inTeam(principal.teamId, async (tx) => {
      await this.#admit(tx, principal, request.version);
      const before = await readSnapshot(tx, principal.teamId);
      const results = await applyAll(tx, principal, commands);
      const { id, confirmBy } = await repository.insertCommit(tx, principal.teamId, {
        authorId: principal.id,
        author: principal.identity,
        address,
        kind: 'commit',
        comment: request.comment ?? '',
        commands: commands.map(({ command }) => command),
        confirmMinutes: request.confirmMinutes ?? null,
      });
      await saveSnapshot(tx, principal.teamId, id, before);
      return { id, confirmBy, results };
    });
  }

  /**
   * Keeps the pending commit, also late, as long as it was not rolled back: that is the way out when it cannot be.
   * @throws TriggerFsError TFS_NOT_FOUND without one, TFS_FORBIDDEN when it is another's
   */
  confirm(principal: Principal): Promise<number> {
    return this.#database.inTeam(principal.teamId, async (tx) => {
      await repository.serialize(tx, principal.teamId);
      const pending = await repository.pendingCommit(tx, principal.teamId);
      if (pending === null) throw new TriggerFsError('TFS_NOT_FOUND', 'no commit waits for its confirmation');
      if (pending.authorId !== principal.id && !isAdmin(principal)) {
        throw new TriggerFsError('TFS_FORBIDDEN', `the commit is ${pending.author}'s; only they and admins confirm it`);
      }
      await repository.settleCommit(tx, principal.teamId, pending.id, 'confirmed');
      return pending.id;
    });
  }

  /** Goes back to the state before the last commit (1), the one before (2), ...; a commit of its own. @throws TriggerFsError TFS_NOT_FOUND */
  rollback(principal: Principal, address: string, number: number, comment: string): Promise<ConfigurationRolledBack> {
    const { teamId } = principal;
    return this.#database.inTeam(teamId, async (tx) => {
      await repository.serialize(tx, teamId);
      await assertUnlocked(tx, principal);
      const pending = await repository.pendingCommit(tx, teamId);
      if (pending !== null) await repository.settleCommit(tx, teamId, pending.id, 'rolled-back');
      const before = await readSnapshot(tx, teamId);
      const notices = await this.#restore(tx, principal, number);
      const author = { authorId: principal.id, author: principal.identity, address };
      const id = await logRollback(tx, teamId, before, { ...author, comment, commands: [`rollback ${number}`] });
      return { id, notices };
    });
  }

  /**
   * Rolls back what was not confirmed in time; safe with several control-planes. Returns the teams whose rollback failed, with
   * the reason: the others are not held up.
   */
  async rollBackOverdue(): Promise<readonly { teamId: number; error: unknown }[]> {
    const teams = await this.#database.rows<{ team_id: number }>('select team_id from triggerfs.unconfirmed_teams()');
    const failed: { teamId: number; error: unknown }[] = [];
    for (const { team_id: teamId } of teams) {
      await this.#database.inTeam(teamId, (tx) => rollBackPending(tx, teamId)).catch((error: unknown) => failed.push({ teamId, error }));
    }
    return failed;
  }

  /** Makes an earlier state the present one. @throws TriggerFsError TFS_NOT_FOUND */
  async #restore(tx: Transaction, { teamId, role }: Principal, number: number): Promise<string[]> {
    const snapshot = await findSnapshot(tx, teamId, number);
    if (snapshot === null) throw new TriggerFsError('TFS_NOT_FOUND', `there is no state ${number} commits ago to go back to`);
    return restoreSnapshot(tx, teamId, snapshot, role === 'owner');
  }

  /** Everything that may refuse a change before its first command. */
  async #admit(tx: Transaction, principal: Principal, version: string | undefined): Promise<void> {
    await repository.serialize(tx, principal.teamId);
    await assertUnlocked(tx, principal);
    const pending = await repository.pendingCommit(tx, principal.teamId);
    if (pending !== null) {
      const what = `commit ${pending.id} of ${pending.author} waits for its confirmation until ${pending.confirmBy}`;
      throw new TriggerFsError('TFS_CONFLICT', `${what}: confirm it or roll it back first`);
    }
    await assertVersion(tx, principal, version);
  }
}

/** @throws TriggerFsError TFS_CONFLICT unless the configuration is still the one that was read */
async function assertVersion(tx: Transaction, principal: Principal, version: string | undefined): Promise<void> {
  if (version === undefined || version === versionOf(await repository.readCommands(tx, principal))) return;
  throw new TriggerFsError('TFS_CONFLICT', 'the configuration was changed since it was read');
}

/** @throws TriggerFsError TFS_CONFLICT, naming who holds the configuration */
async function assertUnlocked(tx: Transaction, principal: Principal): Promise<void> {
  const lock = await repository.currentLock(tx, principal.teamId);
  if (lock === null || lock.holderId === principal.id) return;
  throw new TriggerFsError('TFS_CONFLICT', `${lock.holder} holds the configuration exclusively until ${lock.expiresAt}`);
}

async function rollBackPending(tx: Transaction, teamId: number): Promise<void> {
  await repository.serialize(tx, teamId);
  const pending = await repository.pendingCommit(tx, teamId);
  // Another control-plane, or a person in the last moment, was first.
  if (pending === null || !pending.isDue) return;
  const snapshot = await snapshotOf(tx, teamId, pending.id);
  await repository.settleCommit(tx, teamId, pending.id, 'rolled-back');
  if (snapshot === null) return;
  const before = await readSnapshot(tx, teamId);
  const { authorId, author } = pending;
  const notices = await restoreSnapshot(tx, teamId, snapshot, await repository.isOwner(tx, teamId, authorId));
  // Nobody waits for an answer: the log tells what is left to do.
  const comment = [`commit ${pending.id} was not confirmed in time`, ...notices].join('; ').slice(0, MAX_COMMENT);
  await logRollback(tx, teamId, before, { authorId, author, address: '', comment, commands: ['rollback 1'] });
}

/** Adds a rollback to the log, with the state before it, so that it can be undone; returns its id. */
async function logRollback(
  tx: Transaction,
  teamId: number,
  before: Snapshot,
  entry: Omit<repository.CommitEntry, 'kind' | 'confirmMinutes'>,
): Promise<number> {
  const { id } = await repository.insertCommit(tx, teamId, { ...entry, kind: 'rollback', confirmMinutes: null });
  await saveSnapshot(tx, teamId, id, before);
  return id;
}

async function applyAll(tx: Transaction, principal: Principal, commands: readonly ParsedCommand[]): Promise<CommandResult[]> {
  const applier = new Applier(tx, principal);
  const results: CommandResult[] = [];
  for (const { line, command, operation } of commands) {
    try {
      results.push({ line, command, ...(await applier.apply(operation)) });
    } catch (thrown) {
      const known = thrown instanceof TriggerFsError ? thrown : fromDatabase(thrown);
      throw known === null ? thrown : errorAtLine(line, command, known);
    }
  }
  return results;
}

/** @throws TriggerFsError TFS_USAGE, also for what is no part of the configuration */
function parse(lines: readonly string[]): readonly ParsedCommand[] {
  const commands = parseCommands(lines);
  const other = commands.find(({ operation }) => !isConfiguration(operation));
  if (other === undefined) return commands;
  const reason = new TriggerFsError('TFS_USAGE', 'this is no part of the configuration and takes effect by itself, not in a commit');
  throw errorAtLine(other.line, other.command, reason);
}

function versionOf(commands: readonly string[]): string {
  return createHash('sha256').update(commands.join('\n')).digest('hex').slice(0, 32);
}
