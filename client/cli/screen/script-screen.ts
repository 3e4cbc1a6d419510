import { TriggerFsError } from '../../../protocol/errors.ts';
import { Sink } from '../../program/sink.ts';
import type { ConsoleScreen } from './console-screen.ts';

/** Plain output, without anybody to ask. */
export class ScriptScreen implements ConsoleScreen {
  readonly interactive = false;
  readonly colour: boolean;
  readonly out: Sink;
  readonly err: Sink;

  /** `onBroken` is called once when standard output cannot be written any more. */
  constructor(options: { colour: boolean; onBroken: (error: NodeJS.ErrnoException) => void }) {
    this.colour = options.colour;
    this.out = new Sink(process.stdout, options.onBroken);
    this.err = new Sink(process.stderr, () => undefined);
  }

  async show(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    this.out.write(`${lines.join('\n')}\n`);
    await this.out.ready();
  }

  async ask(question: string): Promise<string> {
    throw new TriggerFsError('TFS_USAGE', `this asks "${question.trim()}" and needs a terminal`);
  }

  async lend<T>(): Promise<T> {
    throw new TriggerFsError('TFS_USAGE', 'this needs a terminal');
  }
}
