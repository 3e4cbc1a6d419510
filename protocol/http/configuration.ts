import { type Static, Type } from 'typebox';
import { CLOSED, Timestamp } from './common.ts';

/** Commands of one commit, and characters of one command: a trigger's arguments with their quoting. */
const MAX_COMMANDS = 20_000;
const MAX_COMMAND = 400_000;

const Commands = Type.Array(Type.String({ maxLength: MAX_COMMAND }), { minItems: 1, maxItems: MAX_COMMANDS });
const Version = Type.String({ maxLength: 64 });
/** 1 is the state before the last commit, 2 the one before that, ... */
const RollbackNumber = Type.Integer({ minimum: 1, maximum: 49 });

/** The configuration lock; see `POST /v1/configuration/lock`. */
export const ConfigurationLock = Type.Object({ holder: Type.String(), expiresAt: Timestamp });
export type ConfigurationLock = Static<typeof ConfigurationLock>;

/** A commit that rolls back by itself unless it is confirmed. */
export const PendingCommit = Type.Object({ id: Type.Integer(), author: Type.String(), confirmBy: Timestamp });
export type PendingCommit = Static<typeof PendingCommit>;

/** The team as commands that rebuild it in an empty team, as far as the caller sees it. */
export const ConfigurationView = Type.Object({
  /** Changes with the commands. */
  version: Type.String(),
  commands: Type.Array(Type.String()),
  lock: Type.Union([ConfigurationLock, Type.Null()]),
  pending: Type.Union([PendingCommit, Type.Null()]),
});
export type ConfigurationView = Static<typeof ConfigurationView>;

/**
 * Body of `POST /v1/configuration/check`: what would be after a rollback (for admins), then after the commands. Empty lines and
 * comments are skipped, but count as lines.
 */
export const ConfigurationCheck = Type.Object(
  { commands: Type.Optional(Commands), rollback: Type.Optional(RollbackNumber), version: Type.Optional(Version) },
  CLOSED,
);
export type ConfigurationCheck = Static<typeof ConfigurationCheck>;

/** Body of `POST /v1/configuration/commit`. */
export const ConfigurationCommit = Type.Object(
  {
    commands: Commands,
    comment: Type.Optional(Type.String({ maxLength: 1000 })),
    /** Rolls back after this time unless it is confirmed; for admins, as that restores the whole team. */
    confirmMinutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440 })),
    /** Refused when the configuration is another one by now. */
    version: Type.Optional(Version),
  },
  CLOSED,
);
export type ConfigurationCommit = Static<typeof ConfigurationCommit>;

/** What became of one command. */
export const CommandResult = Type.Object({
  line: Type.Integer(),
  command: Type.String(),
  /** What its author should know. */
  notice: Type.Union([Type.String(), Type.Null()]),
  /** A new worker: the only time its token is shown. */
  worker: Type.Union([Type.Object({ identity: Type.String(), token: Type.String() }), Type.Null()]),
});
export type CommandResult = Static<typeof CommandResult>;

/** Answer of a check: `commands` are the team as it would be, as far as the caller sees it. */
export const ConfigurationChecked = Type.Object({ results: Type.Array(CommandResult), commands: Type.Array(Type.String()) });
export type ConfigurationChecked = Static<typeof ConfigurationChecked>;

/** Answer of a commit. `id` is null when there was nothing but comments. */
export const ConfigurationCommitted = Type.Object({
  id: Type.Union([Type.Integer(), Type.Null()]),
  confirmBy: Type.Union([Type.String(), Type.Null()]),
  results: Type.Array(CommandResult),
});
export type ConfigurationCommitted = Static<typeof ConfigurationCommitted>;

/** Body of `POST /v1/configuration/rollback`. */
export const ConfigurationRollback = Type.Object(
  { number: RollbackNumber, comment: Type.Optional(Type.String({ maxLength: 1000 })) },
  CLOSED,
);

/** Answer of a rollback. */
export const ConfigurationRolledBack = Type.Object({
  id: Type.Integer(),
  /** What its author should know: what was left as it is, and which workers need a new token. */
  notices: Type.Array(Type.String()),
});
export type ConfigurationRolledBack = Static<typeof ConfigurationRolledBack>;

/** Answer of a confirmation. */
export const CommitReference = Type.Object({ id: Type.Integer() });

/** A commit in the log. */
export const CommitView = Type.Object({
  id: Type.Integer(),
  createdAt: Timestamp,
  author: Type.String(),
  /** Where it came from; empty for what the server rolled back by itself. */
  address: Type.String(),
  kind: Type.Union([Type.Literal('commit'), Type.Literal('rollback')]),
  state: Type.Union([Type.Literal('done'), Type.Literal('pending'), Type.Literal('confirmed'), Type.Literal('rolled-back')]),
  confirmBy: Type.Union([Type.String(), Type.Null()]),
  comment: Type.String(),
  commands: Type.Array(Type.String()),
});
export type CommitView = Static<typeof CommitView>;

/** Answer of `GET /v1/configuration/commits`, the newest first; `next` is the `before` of the next page, null at the end. */
export const CommitPage = Type.Object({ items: Type.Array(CommitView), next: Type.Union([Type.Integer(), Type.Null()]) });

/** Query of `GET /v1/configuration/commits`. Numbers arrive as text. */
export const CommitQuery = Type.Object(
  {
    before: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,8}$' })),
    limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]?|100)$' })),
  },
  CLOSED,
);

/** Body of `POST /v1/configuration/lock`: for how long, default 30 minutes. The holder takes it again to keep it longer. */
export const LockRequest = Type.Object({ minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440 })) }, CLOSED);
