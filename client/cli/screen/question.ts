import { TriggerFsError } from '../../../protocol/errors.ts';
import type { Keyboard } from './keyboard.ts';

const MAX_ANSWER = 4096;
const ERASE = '\b \b';
const ENTER = ['\r', '\n'];
const GIVE_UP = ['\x03', '\x04'];
const BACKSPACE = ['\x7f', '\b'];
const CTRL_U = '\x15';

/** Reads one line from the keyboard, with backspace and Ctrl-U. @throws TriggerFsError TFS_CANCELLED after Ctrl-C or Ctrl-D */
export async function readAnswer(keyboard: Keyboard, question: string, muted: boolean, write: (text: string) => void): Promise<string> {
  const echo = (text: string): void => (muted ? undefined : write(text));
  write(question);
  const answer = await new Promise<string | null>((resolve) => {
    let typed = '';
    keyboard.divert((key) => {
      if (ENTER.includes(key) || GIVE_UP.includes(key)) {
        keyboard.divert(null);
        resolve(ENTER.includes(key) ? typed : null);
        return;
      }
      const next = edited(typed, key);
      if (next.length > typed.length) echo(key);
      else echo(ERASE.repeat([...typed].length - [...next].length));
      typed = next;
    });
  });
  write('\r\n');
  if (answer === null) throw new TriggerFsError('TFS_CANCELLED', 'cancelled');
  return answer;
}

function edited(typed: string, key: string): string {
  if (BACKSPACE.includes(key)) return [...typed].slice(0, -1).join('');
  if (key === CTRL_U) return '';
  const printable = key >= ' ' && !key.startsWith('\x1b');
  return printable && typed.length < MAX_ANSWER ? typed + key : typed;
}

/** Waits for one key. */
export function readKey(keyboard: Keyboard): Promise<string> {
  return new Promise((resolve) => {
    keyboard.divert((key) => {
      keyboard.divert(null);
      resolve(key);
    });
  });
}
