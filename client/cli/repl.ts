import { type REPLServer, start } from 'node:repl';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { Environment } from '../../runtime/environment.ts';
import { RequestFailed } from './commands/request.ts';
import { complete, possibilities } from './completion.ts';
import type { Console } from './console.ts';
import { endsInQuote } from './grammar/line.ts';
import { keepHistory } from './history.ts';
import { ReplOutput } from './repl-output.ts';
import type { Keyboard } from './screen/keyboard.ts';
import type { TerminalScreen } from './screen/terminal-screen.ts';

const CTRL_D = '\x04';

/** What the interactive console is made of. */
export interface ReplParts {
  readonly console: Console;
  readonly keyboard: Keyboard;
  readonly screen: TerminalScreen;
  readonly stdout: NodeJS.WriteStream;
  readonly env: Environment;
}

/**
 * The interactive console: a line editor of node:repl whose lines are commands. Idle it waits for a line; running, keys wait
 * and Ctrl-C cancels the command alone. Ctrl-D leaves configure mode, then the console.
 */
export class Repl {
  readonly #parts: ReplParts;
  readonly #output: ReplOutput;
  readonly #ended = Promise.withResolvers<void>();
  #repl: REPLServer | null = null;
  #running: AbortController | null = null;
  #evaluation: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(parts: ReplParts) {
    this.#parts = parts;
    this.#output = new ReplOutput(parts.stdout);
  }

  /** Runs until the person leaves. */
  async run(): Promise<void> {
    const { keyboard, env } = this.#parts;
    const repl = start({
      prompt: this.#prompt(),
      input: keyboard,
      output: this.#output,
      terminal: true,
      useColors: false,
      useGlobal: false,
      ignoreUndefined: true,
      preview: false,
      eval: (line, _context, _file, done) => {
        this.#evaluation = this.#evaluate(line).then(() => {
          if (!this.#closed) done(null, undefined);
        });
      },
      completer: (line: string, done: (error: null, result: [string[], string]) => void) => void this.#complete(line, done),
    });
    this.#repl = repl;
    // Its commands are about JavaScript.
    for (const name of Object.keys(repl.commands)) Reflect.deleteProperty(repl.commands, name);
    repl.removeAllListeners('SIGINT');
    repl.on('SIGINT', () => this.#clearLine());
    repl.on('exit', () => {
      this.#closed = true;
      this.#ended.resolve();
    });
    keyboard.onKey = (key) => this.#key(key);
    await keepHistory(repl, env);
    keyboard.release();
    this.#parts.console.names.prefetch();
    await this.#ended.promise;
    // A command that was cut short has something to tidy up.
    await this.#evaluation;
    keyboard.onKey = () => false;
  }

  /** The terminal went away. */
  end(): void {
    this.#running?.abort();
    this.#repl?.close();
  }

  #prompt(): string {
    const { mode, who } = this.#parts.console;
    return mode === 'configure' ? `${who}$ configure# ` : `${who}$ `;
  }

  async #evaluate(line: string): Promise<void> {
    const { console, keyboard, screen } = this.#parts;
    const running = new AbortController();
    this.#running = running;
    this.#output.active = false;
    keyboard.hold(() => {
      if (!running.signal.aborted) screen.out.write('^C\n');
      running.abort();
    });
    try {
      await console.execute(line, running.signal);
    } catch (thrown) {
      if (!running.signal.aborted) screen.out.write(explain(thrown));
    }
    this.#running = null;
    this.#output.active = true;
    keyboard.release();
    this.#forgetIfBlank(line);
    if (console.closed) this.#repl?.close();
    else this.#repl?.setPrompt(this.#prompt());
  }

  /** A line that begins with a blank stays out of the history file. */
  #forgetIfBlank(line: string): void {
    const history = (this.#repl as (REPLServer & { history?: string[] }) | null)?.history;
    if (/^\s/.test(line) && history !== undefined) history.shift();
  }

  async #complete(line: string, done: (error: null, result: [string[], string]) => void): Promise<void> {
    const { console } = this.#parts;
    const [candidates, begun] = await complete(line, console.tree, console.names);
    // A blank after the only candidate, so that the next word can follow.
    done(null, [candidates.length === 1 ? [`${candidates[0]} `] : [...candidates], begun]);
  }

  /** Keys with a meaning of their own while a line is edited. */
  #key(key: string): boolean {
    const repl = this.#repl;
    if (repl === null) return false;
    if (key === CTRL_D && repl.line === '') {
      void this.#leave();
      return true;
    }
    if (key !== '?' || repl.cursor !== repl.line.length || endsInQuote(repl.line)) return false;
    this.#parts.screen.out.write(`?\n${possibilities(repl.line, this.#parts.console.tree).join('\n')}\n`);
    repl.displayPrompt(true);
    return true;
  }

  async #leave(): Promise<void> {
    const { console, screen } = this.#parts;
    screen.out.write('^D\n');
    await console.leave().catch(() => undefined);
    if (console.closed) this.#repl?.close();
    else {
      this.#repl?.setPrompt(this.#prompt());
      this.#repl?.displayPrompt();
    }
  }

  #clearLine(): void {
    const repl = this.#repl;
    if (repl === null) return;
    this.#parts.screen.out.write('^C\n');
    repl.write(null, { ctrl: true, name: 'e' });
    repl.write(null, { ctrl: true, name: 'u' });
    repl.displayPrompt();
  }
}

/** What a person reads of an error; a failed request has said everything already. */
function explain(thrown: unknown): string {
  if (thrown instanceof RequestFailed) return '';
  const { code, message, definition } = TriggerFsError.from(thrown);
  return code === 'TFS_USAGE' ? `${message}\n` : `Error: ${message} (${code})\n${definition.hint}\n`;
}
