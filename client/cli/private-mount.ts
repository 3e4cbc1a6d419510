import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { hostname, tmpdir, userInfo } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { TriggerFsError } from '../../protocol/errors.ts';
import { KeptSpools } from './kept-spools.ts';

/** How long the mount may take to appear, and to go. */
const START_MS = 15_000;
const STOP_MS = 12_000;
/** How long the mount may take to say what is in its spool. */
const LOOK_MS = 2_000;
/** The end of what the fs module says when it fails. */
const SAID_BYTES = 4_000;
/** Folder of the spool, beside the configuration. */
const SPOOL = 'spool';

/** Whom the mount logs in as. */
export interface MountLogin {
  readonly api: string;
  readonly team: string;
  readonly identity: string;
  readonly secret: string;
  readonly region: string;
}

/**
 * The team's file tree, mounted for one shell in a folder of its own: by the fs module as a process of its own, with a
 * configuration and a spool that nobody else can read. What was written and not answered when it ends is kept for the next one.
 */
export class PrivateMount {
  /** Where the tree is mounted. */
  readonly folder: string;
  /** Prompt for shells that take it from PS1. */
  readonly prompt: string;
  /** Start file for bash: the person's own, then the prompt. */
  readonly bashStart: string;
  /** Messages of an earlier shell go out with it. */
  readonly resumes: boolean;
  readonly #state: string;
  readonly #kept: KeptSpools | null;
  readonly #child: ChildProcess;

  private constructor(folder: string, state: string, kept: KeptSpools | null, resumes: boolean, child: ChildProcess) {
    this.folder = folder;
    this.resumes = resumes;
    this.#state = state;
    this.#kept = kept;
    this.#child = child;
    this.prompt = `${userInfo().username}@${hostname().split('.')[0]} \${PWD} $ `;
    this.bashStart = join(state, 'bashrc');
    writeFileSync(this.bashStart, `[ -f ~/.bashrc ] && . ~/.bashrc\nPS1='\\u@\\h \\w $ '\n`);
  }

  /** Mounts; unanswered messages are kept in `home`. @throws TriggerFsError TFS_MOUNT with what the fs module says */
  static async mount(login: MountLogin, home: string | undefined, signal: AbortSignal): Promise<PrivateMount> {
    const folder = mkdtempSync(join(tmpdir(), 'triggerfs-client'));
    const state = mkdtempSync(join(tmpdir(), 'triggerfs-console-'));
    chmodSync(state, 0o700);
    const config = join(state, 'triggerfs.toml');
    writeFileSync(config, configuration(login), { mode: 0o600 });
    const kept = home === undefined ? null : new KeptSpools(home, login);
    const resumes = kept?.take(join(state, SPOOL)) ?? false;
    if (!resumes) mkdirSync(join(state, SPOOL));
    const program = join(import.meta.dirname, '..', '..', 'fs', `bin${extname(import.meta.filename)}`);
    const child = spawn(process.execPath, [program, '-config', config, '-mountpoint', folder, '-json'], {
      cwd: state,
      // Ctrl-C in the shell is not for it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const mount = new PrivateMount(folder, state, kept, resumes, child);
    try {
      await ready(child, signal);
      return mount;
    } catch (error) {
      await mount.#end(resumes);
      throw error;
    }
  }

  /** Whether everything that was written is answered; false also where the mount does not say. */
  async isSettled(): Promise<boolean> {
    const limit = new Promise<null>((resolve) => setTimeout(resolve, LOOK_MS, null).unref());
    const usage = await Promise.race([statfs(this.folder), limit]).catch(() => null);
    // The spool's limit is a whole number of blocks, so that each message counts.
    return usage !== null && usage.blocks > 0 && usage.bfree === usage.blocks;
  }

  /** Unmounts and removes the folders. Returns what became of messages without an answer; null when there are none. */
  async unmount(): Promise<string | null> {
    return this.#end(!(await this.isSettled()));
  }

  async #end(unsettled: boolean): Promise<string | null> {
    await this.#stop();
    const outcome = unsettled ? this.#keep() : null;
    rmSync(this.#state, { recursive: true, force: true });
    try {
      rmdirSync(this.folder);
    } catch {
      // It is still mounted, and what is in it is the team's.
    }
    return outcome;
  }

  #keep(): string {
    if (this.#kept === null) return 'Messages without an answer are lost: there is no home folder to keep them in.';
    this.#kept.keep(join(this.#state, SPOOL));
    return 'Messages without an answer are kept; they go out when file is used in this team again.';
  }

  async #stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
      const limit = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
      this.#child.kill('SIGTERM');
      await ended;
      clearTimeout(limit);
    }
  }
}

function configuration({ api, team, identity, secret, region }: MountLogin): string {
  const values = Object.entries({ api, team, identity, secret, region }).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return `[main]\n${values.join('\n')}\n\n[triggerfs]\nspool = "${SPOOL}"\nspool_limit = "1GiB"\n`;
}

/** Waits for the ready line. */
function ready(child: ChildProcess, signal: AbortSignal): Promise<void> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    said = (said + chunk).slice(-SAID_BYTES);
  });
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new TriggerFsError('TFS_MOUNT', reason));
    const limit = setTimeout(() => fail(`the file tree was not mounted within ${START_MS / 1000} s`), START_MS);
    const settled = (): void => clearTimeout(limit);
    signal.addEventListener('abort', () => reject(new TriggerFsError('TFS_CANCELLED', 'cancelled')), { once: true });
    child.once('error', (cause) => fail(`cannot start the fs module: ${cause.message}`));
    child.once('exit', () => {
      settled();
      fail(
        said
          .trim()
          .split('\n')[0]
          ?.replace(/^triggerfs: /, '') || 'the fs module ended',
      );
    });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.includes('"ready"')) return;
      settled();
      resolve();
    });
  });
}
