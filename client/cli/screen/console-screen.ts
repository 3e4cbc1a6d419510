import type { Sink } from '../../program/sink.ts';

/** The terminal, or what stands in for it in scripts. */
export interface ConsoleScreen {
  /** A person sits there: questions can be asked, long answers stop after each screen. */
  readonly interactive: boolean;
  /** Colours are wanted. */
  readonly colour: boolean;
  readonly out: Sink;
  readonly err: Sink;
  /** Shows lines, page by page unless `noMore`. */
  show(lines: readonly string[], noMore: boolean): Promise<void>;
  /** Asks for a line; what is typed for a `muted` one is not shown. @throws TriggerFsError TFS_USAGE where nobody can answer, TFS_CANCELLED after Ctrl-C */
  ask(question: string, muted: boolean): Promise<string>;
  /** Leaves the terminal to another program while `work` runs. @throws TriggerFsError TFS_USAGE where there is no terminal */
  lend<T>(work: () => Promise<T>): Promise<T>;
}
