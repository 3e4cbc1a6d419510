import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, realpathSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { hostname, tmpdir, userInfo } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ERRORS, type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';

/** How long the mount may take to appear, and to go. */
const START_MS = 15_000;
const STOP_MS = 12_000;
/** How long the mount may take to say what is in its spool. */
const LOOK_MS = 2_000;
/** The end of what the fs module says when it fails. */
const SAID_BYTES = 4_000;

/** Whom the mount logs in as. */
export interface MountLogin {
  readonly api: string;
  readonly team: string;
  readonly identity: string;
  readonly secret: string;
  readonly region: string;
}

/** What the fs module says of itself. */
interface FsEvent {
  readonly event: 'ready' | 'ended' | 'print';
  readonly folder?: string;
  readonly inherited?: number;
  readonly unanswered?: boolean;
}

/** Where spools are. */
interface SpoolHome {
  readonly folder: string;
  /** What is in it outlives the shell. */
  readonly lasting: boolean;
}

/**
 * The team's file tree, mounted for one shell in a folder of its own: by the fs module as a process of its own, with a spool that
 * nobody else can read. What was written and not answered is kept for the next one. Should this process die, the fs module
 * notices by the channel to it, and cleans up alone; so nothing here is needed for that.
 */
export class PrivateMount {
  /** Where the tree is mounted. */
  readonly folder: string;
  /** Prompt for shells that take it from PS1. */
  readonly prompt: string;
  readonly #home: SpoolHome;
  readonly #child: ChildProcess;
  #place = '';
  #inherited = 0;
  /** Null until it ended in order. */
  #unanswered: boolean | null = null;

  private constructor(folder: string, home: SpoolHome, child: ChildProcess) {
    this.folder = folder;
    this.#home = home;
    this.#child = child;
    this.prompt = `${userInfo().username}@${hostname().split('.')[0]} \${PWD} $ `;
  }

  /** Mounts; unanswered messages are kept in `home`. @throws TriggerFsError TFS_MOUNT with what the fs module says */
  static async mount(login: MountLogin, home: string | undefined, signal: AbortSignal): Promise<PrivateMount> {
    const spools = spoolHome(home);
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'triggerfs-client')));
    const program = join(import.meta.dirname, '..', '..', 'fs', `bin${extname(import.meta.filename)}`);
    const child = spawn(process.execPath, [program, '-config', '-', '-private', spools.folder, '-mountpoint', folder, '-json'], {
      // It holds no folder of the person's.
      cwd: '/',
      // Ctrl-C in the shell is not for it.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    });
    // The login goes this way, because no other leaves nothing behind on the disk.
    child.stdin?.on('error', () => undefined).end(configuration(login));
    const mount = new PrivateMount(folder, spools, child);
    try {
      await mount.#ready(signal);
      return mount;
    } catch (error) {
      await mount.unmount();
      throw error;
    }
  }

  /** Messages of an earlier shell go out with it. */
  get resumes(): boolean {
    return this.#inherited > 0;
  }

  /** How it ended before it was unmounted; null while it is there. */
  get end(): string | null {
    const { exitCode, signalCode } = this.#child;
    return exitCode === null ? signalCode : `exit code ${exitCode}`;
  }

  /** Makes the start file for bash: the person's own, then the prompt. */
  bashStart(): string {
    const file = join(this.#place, 'bashrc');
    writeFileSync(file, `[ -f ~/.bashrc ] && . ~/.bashrc\nPS1='\\u@\\h \\w $ '\n`);
    return file;
  }

  /** Says which process is the shell: should this one die, the fs module hangs it up. */
  serves(shell: number): void {
    if (this.#child.connected) this.#child.send({ shell });
  }

  /** Whether everything that was written is answered; false also where the mount does not say. */
  async isSettled(): Promise<boolean> {
    const limit = new Promise<null>((resolve) => setTimeout(resolve, LOOK_MS, null).unref());
    const usage = await Promise.race([statfs(this.folder), limit]).catch(() => null);
    // The spool's limit is a whole number of blocks, so that each message counts.
    return usage !== null && usage.blocks > 0 && usage.bfree === usage.blocks;
  }

  /** Unmounts. Returns what became of messages without an answer; null when there are none. */
  async unmount(): Promise<string | null> {
    await this.#stop();
    try {
      rmdirSync(this.folder);
    } catch {
      // The fs module has removed it. If it could not, what is in it is the team's.
    }
    if (this.#home.lasting)
      return this.#unanswered === false ? null : 'Messages without an answer are kept; they go out when file is used in this team again.';
    rmSync(this.#home.folder, { recursive: true, force: true });
    return this.#unanswered === false ? null : 'Messages without an answer are lost: there is no home folder to keep them in.';
  }

  async #stop(): Promise<void> {
    if (this.end === null) {
      const ended = new Promise<void>((resolve) => this.#child.once('close', () => resolve()));
      const limit = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
      this.#child.kill('SIGTERM');
      await ended;
      clearTimeout(limit);
    }
  }

  /** Waits for the ready line. */
  #ready(signal: AbortSignal): Promise<void> {
    const child = this.#child;
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      said = (said + chunk).slice(-SAID_BYTES);
    });
    return new Promise((resolve, reject) => {
      const fail = (reason: string): void => reject(new TriggerFsError('TFS_MOUNT', reason));
      const limit = setTimeout(() => fail(`the file tree was not mounted within ${START_MS / 1000} s`), START_MS);
      signal.addEventListener('abort', () => reject(new TriggerFsError('TFS_CANCELLED', 'cancelled')), { once: true });
      child.once('error', (cause) => fail(`cannot start the fs module: ${cause.message}`));
      child.once('close', () => {
        clearTimeout(limit);
        reject(failure(said));
      });
      if (child.stdout === null) return;
      createInterface({ input: child.stdout }).on('line', (line) => {
        const event = parseEvent(line);
        if (event?.event === 'ended') this.#unanswered = event.unanswered ?? null;
        if (event?.event !== 'ready') return;
        clearTimeout(limit);
        this.#place = event.folder ?? '';
        this.#inherited = event.inherited ?? 0;
        resolve();
      });
    });
  }
}

/** In the person's home, if something can be written there. */
function spoolHome(home: string | undefined): SpoolHome {
  if (home !== undefined) {
    const folder = join(home, '.local', 'state', 'triggerfs', 'spools');
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      accessSync(folder, constants.W_OK);
      return { folder, lasting: true };
    } catch {
      // A read-only home is no reason to do without files.
    }
  }
  return { folder: mkdtempSync(join(tmpdir(), 'triggerfs-console-')), lasting: false };
}

function configuration({ api, team, identity, secret, region }: MountLogin): string {
  const values = Object.entries({ api, team, identity, secret, region }).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return `[main]\n${values.join('\n')}\n\n[triggerfs]\nspool_limit = "1GiB"\n`;
}

/** Null for what is no event. */
function parseEvent(line: string): FsEvent | null {
  try {
    return JSON.parse(line) as FsEvent | null;
  } catch {
    return null;
  }
}

/** What the fs module said before it ended, as the error of the command. */
function failure(said: string): TriggerFsError {
  const [line = ''] = said.trim().split('\n');
  const words = /^triggerfs: (.*) \((TFS_[A-Z_]+)\)$/.exec(line);
  const code = words?.[2] ?? '';
  if (words !== null && Object.hasOwn(ERRORS, code)) return new TriggerFsError(code as ErrorCode, words[1] as string);
  return new TriggerFsError('TFS_MOUNT', line === '' ? 'the fs module ended' : line);
}
