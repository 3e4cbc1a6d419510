import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, text } from '../screen/answer.ts';

/** Commands about the console itself. */
export const SESSION: readonly Command[] = [
  { pattern: 'exit', doc: 'Leave the configure mode, or the console', modes: EVERYWHERE, run: leave },
  { pattern: 'quit', doc: 'End the console', modes: EVERYWHERE, run: quit },
  // Carried out by the console, which knows all commands; listed here for completion and help.
  { pattern: 'help', doc: 'Show the commands; help WORDS shows those that begin so', modes: EVERYWHERE, run: async () => null },
  { pattern: 'echo <text>', doc: 'Print a text, for scripts', modes: EVERYWHERE, run: echo },
];

async function echo({ values }: Call): Promise<Answer> {
  return text([values.text ?? ''], values.text);
}

async function leave({ shell }: Call): Promise<null> {
  await shell.leave();
  return null;
}

async function quit({ shell }: Call): Promise<null> {
  await shell.quit();
  return null;
}
