import { accessSync, constants, mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { environment } from '../../runtime/environment.ts';
import { Lifecycle } from '../../runtime/lifecycle.ts';
import { silentLogger } from '../../runtime/logging.ts';
import type { Settings } from '../settings.ts';
import { Program, type ProgramOptions } from './program.ts';

/** Debian keeps daemons where an ordinary user's PATH does not look. */
const DAEMON_FOLDERS = ['/usr/sbin', '/usr/local/sbin'];

/**
 * Where benchmarks take place: a temporary folder and everything that was started.
 * Whatever happens (failure, Ctrl-C), `close` ends the programs in reverse order and removes the folder.
 */
export class Stage {
  readonly settings: Settings;
  readonly folder: string;
  /** Shows what is going on. */
  readonly progress: (text: string) => void;
  readonly #lifecycle = new Lifecycle(silentLogger());
  #programs = 0;
  #closing = false;

  private constructor(settings: Settings, folder: string, progress: (text: string) => void) {
    this.settings = settings;
    this.folder = folder;
    this.progress = progress;
    this.#lifecycle.add('folder', () => rm(folder, { recursive: true, force: true }));
  }

  /** Opens a stage in a new temporary folder. */
  static async open(settings: Settings, progress: (text: string) => void): Promise<Stage> {
    return new Stage(settings, await mkdtemp(join(tmpdir(), 'triggerfs-bench-')), progress);
  }

  /** The end has come, be it by Ctrl-C: nothing more is started. */
  get closing(): boolean {
    return this.#closing;
  }

  /** Registers what has to be undone at the end. */
  add(name: string, stop: () => Promise<void> | void): void {
    this.#lifecycle.add(name, stop);
  }

  /** Starts a program that is stopped at the end. Logs of all programs are kept in the folder until then. */
  start(options: Omit<ProgramOptions, 'logFile'>): Program {
    if (this.#closing) throw new Error(`${options.name} is not started any more`);
    this.#programs += 1;
    const program = new Program({ ...options, logFile: join(this.folder, `${this.#programs}-${options.name}.log`) });
    this.#lifecycle.add(options.name, () => program.stop());
    return program;
  }

  /** Starts one of our TypeScript programs, with a CPU profile if wanted. */
  startNode(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
    const { profile } = this.settings;
    const flags = profile === null ? [] : ['--cpu-prof', '--cpu-prof-dir', join(profile, name)];
    return this.start({ name, command: process.execPath, args: [...flags, ...args], env, ipc: true });
  }

  /** Makes a folder of the stage. */
  subfolder(name: string): string {
    const folder = join(this.folder, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  /** Path of an installed program, or null. */
  find(program: string): string | null {
    for (const folder of [...environment().path.split(delimiter), ...DAEMON_FOLDERS]) {
      const path = join(folder, program);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not there: the next folder may have it.
      }
    }
    return null;
  }

  /** Ends and removes everything. */
  close(): Promise<void> {
    this.#closing = true;
    return this.#lifecycle.stop();
  }
}
