import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { until } from '../../support/wait.ts';

/** Said by the shell that runs the program; tmux itself loses an exit code now and then. */
const ENDED = /^ended with (\d+)$/m;

/** Bytes of everything that was printed. */
const MAX_SCREEN = 64 * 1024 * 1024;

/** Why tests with a terminal are skipped; false where tmux is there. */
export const NO_TERMINAL: string | false = spawnSync('tmux', ['-V']).status === 0 ? false : 'tmux is not installed';

/** A real terminal: a window of tmux, with a server of its own. */
export class Terminal {
  readonly #socket = `triggerfs-test-${randomBytes(6).toString('hex')}`;

  /** Starts a program in a terminal that ends with the test. */
  constructor(
    t: Pick<TestContext, 'after'>,
    command: readonly string[],
    options: { env: Readonly<Record<string, string>>; columns?: number; rows?: number; cwd?: string },
  ) {
    const { env, columns = 200, rows = 50, cwd = '/' } = options;
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const size = ['-x', String(columns), '-y', String(rows)];
    const shell = ['sh', '-c', '"$@"; echo "ended with $?"; exec sleep 600', 'sh'];
    const run = [...shell, 'env', '-i', ...variables, ...command].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    t.after(() => spawnSync('tmux', ['-L', this.#socket, 'kill-server']));
    this.#tmux('-f', '/dev/null', 'set', '-g', 'history-limit', '20000', ';', 'new-session', '-d', ...size, '-c', cwd, run);
  }

  /** Types a text as it is. */
  type(text: string): void {
    this.#tmux('send-keys', '-l', '--', text);
  }

  /** Presses keys by tmux's names: `Enter`, `Tab`, `C-c`. */
  press(...keys: readonly string[]): void {
    this.#tmux('send-keys', ...keys);
  }

  /** Types a line, presses Enter and waits until the next prompt (a line that ends in `$ ` or `# `, or matches `prompt`) stands below it. */
  async run(line: string, prompt: RegExp = /[$#]$/): Promise<void> {
    const before = this.#lines().length;
    this.type(line);
    this.press('Enter');
    const arrived = (): boolean => this.#lines().length > before && prompt.test(this.#lines().at(-1) ?? '');
    await this.#wait(arrived, `a prompt after ${line}`, 30_000);
  }

  /**
   * Presses Tab until a name is shown. The console reads names in the background, and a Tab that is quicker than a slow machine
   * gets what is known by then.
   */
  async tabUntil(shown: RegExp): Promise<void> {
    const pressed = (): boolean => {
      this.press('Tab');
      return shown.test(this.screen());
    };
    await this.#wait(pressed, `completed: ${shown}`, 30_000);
  }

  /** Waits for a text on the screen. */
  async see(wanted: RegExp, timeoutMs = 15_000): Promise<void> {
    await this.#wait(() => wanted.test(this.screen()), String(wanted), timeoutMs);
  }

  /** Everything printed so far, long lines whole. */
  screen(): string {
    return this.#tmux('capture-pane', '-p', '-J', '-S', '-');
  }

  /** What the window shows now; much less than everything where much was printed. */
  window(): string {
    return this.#tmux('capture-pane', '-p', '-J');
  }

  /** Waits for a text in the window. */
  async seeInWindow(wanted: RegExp, timeoutMs = 15_000): Promise<void> {
    await until(() => wanted.test(this.window()), { timeoutMs, what: `in the window: ${wanted}` });
  }

  /** What the window shows at this moment, without what has scrolled away. */
  view(): string {
    return this.#tmux('capture-pane', '-p');
  }

  /** Closes it, as the cross of its window does: what runs in it is hung up. */
  close(): void {
    this.#tmux('kill-server');
  }

  /** Changes the size of the window. */
  resize(columns: number, rows: number): void {
    this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** The program has ended. */
  get ended(): boolean {
    return ENDED.test(this.screen());
  }

  /** Exit code of the program. */
  get exitCode(): number {
    return Number(ENDED.exec(this.screen())?.[1]);
  }

  async #wait(condition: () => boolean, what: string, timeoutMs: number): Promise<void> {
    try {
      await until(condition, { timeoutMs, what });
    } catch {
      throw new Error(`not on the screen: ${what}\n${this.screen().trimEnd()}`);
    }
  }

  #lines(): string[] {
    return this.screen()
      .trimEnd()
      .split('\n')
      .map((line) => line.trimEnd());
  }

  #tmux(...args: readonly string[]): string {
    return execFileSync('tmux', ['-L', this.#socket, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: MAX_SCREEN,
    });
  }
}
