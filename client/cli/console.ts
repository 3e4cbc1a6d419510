import { TriggerFsError } from '../../protocol/errors.ts';
import type { UserView } from '../../protocol/http/user.ts';
import type { Command, Editing, Mode, Shell } from './command.ts';
import { commands, TOPICS } from './commands/index.ts';
import { helpLines, possibilities } from './completion.ts';
import type { Connection } from './connection.ts';
import { CommandTree } from './grammar/command-tree.ts';
import { splitLine, type Word } from './grammar/line.ts';
import { Names } from './names.ts';
import type { ConsoleScreen } from './screen/console-screen.ts';
import { readPipes } from './screen/pipes.ts';
import { render } from './screen/render.ts';

/** Options of a console. */
export interface ConsoleOptions {
  readonly connection: Connection;
  readonly screen: ConsoleScreen;
  /** Every answer as JSON. */
  readonly json: boolean;
}

/**
 * The console: takes lines one after the other, whoever types them. It is in run mode or in configure mode; `closed`
 * once it was left.
 */
export class Console implements Shell {
  readonly names: Names;
  readonly #screen: ConsoleScreen;
  readonly #json: boolean;
  readonly #trees: Readonly<Record<Mode, CommandTree<Command>>>;
  readonly #commands: readonly Command[];
  #connection: Connection;
  #mode: Mode = 'run';
  #editing: Editing = 'immediate';
  #candidate: readonly string[] = [];
  #closed = false;
  #who = '';

  constructor({ connection, screen, json }: ConsoleOptions) {
    this.#connection = connection;
    this.#screen = screen;
    this.#json = json;
    this.#commands = commands();
    const tree = (mode: Mode): CommandTree<Command> =>
      new CommandTree(
        this.#commands.filter(({ modes }) => modes.includes(mode)),
        TOPICS,
      );
    this.#trees = { run: tree('run'), configure: tree('configure') };
    this.names = new Names(() => this.#connection);
  }

  get mode(): Mode {
    return this.#mode;
  }

  get editing(): Editing {
    return this.#editing;
  }

  get candidate(): readonly string[] {
    return this.#candidate;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get connection(): Connection {
    return this.#connection;
  }

  /** How the prompt calls the person: `(team1) hp@example.com`. */
  get who(): string {
    return this.#who;
  }

  /** The commands of the present mode. */
  get tree(): CommandTree<Command> {
    return this.#trees[this.#mode];
  }

  /** Carries out one line and shows its answer. @throws TriggerFsError, RequestFailed; AbortError after `signal` */
  async execute(line: string, signal: AbortSignal): Promise<void> {
    const { words: all, pipes } = splitLine(line);
    const words = this.#withoutRun(all);
    if (words.length === 0) return;
    const pipeline = readPipes(pipes);
    const help = this.#help(words, line);
    if (help !== null) return this.#screen.show(help, pipeline.noMore);
    const { command, ...resolved } = this.#resolve(words);
    if (pipeline.compare !== null && command.compares !== true) {
      throw new TriggerFsError('TFS_USAGE', '| compare follows show (in a candidate) or show configuration');
    }
    const begun = performance.now();
    const piped = this.#json ? { ...pipeline, json: true } : pipeline;
    const screen = this.#screen;
    const answer = await command.run({ shell: this, connection: this.#connection, screen, ...resolved, pipeline: piped, signal });
    if (answer !== null) await screen.show(render(answer, piped, performance.now() - begun), pipeline.noMore);
  }

  async enter(editing: Editing): Promise<void> {
    if (editing === 'exclusive') await this.#lock('POST');
    this.#mode = 'configure';
    this.#editing = editing;
    this.names.prefetch();
  }

  setCandidate(lines: readonly string[]): void {
    this.#candidate = lines;
  }

  async leave(): Promise<void> {
    if (this.#candidate.length > 0 && this.#screen.interactive) {
      const answer = await this.#screen.ask('Changes were collected and not committed. Leave without them? [yes,no] (no) ', false);
      if (!/^y(es)?$/i.test(answer.trim())) return;
    }
    // If the server cannot be reached now, the lock ends by itself.
    if (this.#editing === 'exclusive') await this.#lock('DELETE').catch(() => undefined);
    if (this.#mode === 'run') this.#closed = true;
    this.#mode = 'run';
    this.#editing = 'immediate';
    this.#candidate = [];
  }

  async quit(): Promise<void> {
    if (this.#mode === 'configure') await this.leave();
    if (this.#mode === 'run') this.#closed = true;
  }

  namesChanged(): void {
    this.names.changed();
  }

  async connect(connection: Connection): Promise<void> {
    const before = this.#connection;
    this.#connection = connection;
    this.names.forget();
    this.#candidate = [];
    await before.stop();
    await this.look();
  }

  /** Looks up how the prompt calls the person: by mail address where there is one, else by where they are. */
  async look(): Promise<void> {
    const { team, identity } = await this.#connection.login();
    const address = `${identity}@${new URL(this.#connection.config.main.api).hostname}`;
    const path = `/v1/users/${encodeURIComponent(identity)}`;
    const user = team === null ? null : await this.#connection.call<UserView>({ method: 'GET', path }).catch(() => null);
    this.#who = `${team === null ? '' : `(${team}) `}${user?.email ?? address}`;
  }

  async #lock(method: 'POST' | 'DELETE'): Promise<void> {
    await this.#connection.call({ method, path: '/v1/configuration/lock', ...(method === 'POST' ? { body: {} } : {}) });
  }

  /** `run show workers`: as on routers, though every command of the run mode works in configure mode as it is. */
  #withoutRun(words: readonly Word[]): readonly Word[] {
    return this.#mode === 'configure' && words[0]?.text === 'run' && !words[0].quoted ? words.slice(1) : words;
  }

  #resolve(words: readonly Word[]): ReturnType<CommandTree<Command>['resolve']> {
    try {
      return this.tree.resolve(words);
    } catch (error) {
      const other = this.#mode === 'run' ? 'configure' : 'run';
      if (!this.#trees[other].isComplete(words)) throw error;
      const how = other === 'configure' ? 'enter configure first' : 'exit first';
      throw new TriggerFsError('TFS_USAGE', `${words[0]?.text} is a command of the ${other} mode: ${how}`);
    }
  }

  /** Help that a line asks for: `help`, `help WORDS`, or `?` at its end. */
  #help(words: readonly Word[], line: string): string[] | null {
    const last = words.at(-1);
    if (last?.text === '?' && !last.quoted) return possibilities(line.slice(0, line.lastIndexOf('?')), this.tree);
    const [first, ...rest] = words;
    if (first?.text !== 'help' || first.quoted) return null;
    const wanted = rest.map(({ text }) => text).join(' ');
    const found = this.#commands.filter(({ modes, pattern }) => modes.includes(this.#mode) && plain(pattern).startsWith(wanted));
    if (found.length === 0) return possibilities(`${wanted} `, this.tree);
    return commandHelp(found);
  }
}

/** Commands with what they do, a line for each. */
export function commandHelp(listed: readonly Command[]): string[] {
  return helpLines(listed.map(({ pattern, options, doc }) => ({ text: plain(pattern) + optionText(options), doc })));
}

/** A pattern without the other words for the same. */
function plain(pattern: string): string {
  return pattern
    .split(' ')
    .map((part) => (part.startsWith('<') ? part.replace(/^<[a-z-]+:(.+)>$/, '$1') : (part.split('|')[0] as string)))
    .join(' ');
}

/** ` [timeout <duration>]` for each named setting. */
function optionText(options: Command['options']): string {
  return Object.entries(options ?? {})
    .map(([name, { value, choices }]) => ` [${name} ${choices === undefined ? `<${value}>` : choices.join('|')}]`)
    .join('');
}
