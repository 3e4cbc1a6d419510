import type { Connection } from './connection.ts';
import type { Part, Syntax } from './grammar/command-tree.ts';
import type { Answer } from './screen/answer.ts';
import type { ConsoleScreen } from './screen/console-screen.ts';
import type { Pipeline } from './screen/pipes.ts';

/** Where a command may be given. */
export type Mode = 'run' | 'configure';

/** How `configure` was entered: every change at once, or collected until commit. */
export type Editing = 'immediate' | 'candidate' | 'exclusive';

/** What commands may do to the console they run in. */
export interface Shell {
  readonly mode: Mode;
  readonly editing: Editing;
  /** Commands that are collected and not committed. */
  readonly candidate: readonly string[];
  /** Begins to configure. @throws TriggerFsError TFS_CONFLICT when somebody else does so exclusively */
  enter(editing: Editing): Promise<void>;
  /** Replaces what is collected. */
  setCandidate(commands: readonly string[]): void;
  /** Back to run mode, after a question where changes are collected; from there, the end of the console. */
  leave(): Promise<void>;
  /** Ends the console, after the same question. */
  quit(): Promise<void>;
  /** What names exist has changed. */
  namesChanged(): void;
  /** Uses another login, as after switching the team. */
  connect(connection: Connection): Promise<void>;
}

/** One use of a command. */
export interface Call {
  readonly shell: Shell;
  readonly connection: Connection;
  readonly screen: ConsoleScreen;
  readonly values: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, readonly string[]>>;
  /** The command with its words written out. */
  readonly parts: readonly Part[];
  readonly pipeline: Pipeline;
  /** Aborts when the person gives up. */
  readonly signal: AbortSignal;
}

/** A command of the console. Help, completion, scripts and docs/console.md all read this one description. */
export interface Command extends Syntax {
  readonly modes: readonly Mode[];
  /** `| compare` may follow. */
  readonly compares?: boolean;
  /** Does it; what it returns is shown. @throws TriggerFsError */
  run(call: Call): Promise<Answer | null>;
}

/** In both modes. */
export const EVERYWHERE: readonly Mode[] = ['run', 'configure'];
