import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { environment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { until } from '../support/wait.ts';

/** The script that is tested. */
export const SCRIPT = join(packageRoot(), 'install.sh');

/** The folder of its parts, which come with the package. */
export const PARTS = join(packageRoot(), 'installer');

/** A password that needs quoting in JSON, TOML and shells. */
export const SECRET = 'it\'s a "good" pass\\word';

/** Where npm gets packages from on this machine, whatever npm runs: the registry, and who vouches for it. */
export function npmSettings(): Record<string, string> {
  const settings = ['registry', 'cafile'].map((name) => {
    const value = execFileSync('npm', ['config', 'get', name], { cwd: '/', encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return [`npm_config_${name}`, value] as const;
  });
  return Object.fromEntries(settings.filter(([, value]) => value !== '' && value !== 'null'));
}

let npm: Record<string, string> | null = null;

/** How the installer ended; both streams together, as a person sees them. */
export interface Installed {
  readonly code: number | null;
  readonly screen: string;
}

/** A home folder for the installer, and the variables to run it with. */
export class Machine {
  readonly home: string;
  readonly #programs: string;
  #path: string;

  /** Makes the folder `name` in another one. */
  constructor(folder: string, name: string) {
    this.home = join(folder, name);
    this.#programs = join(this.home, 'programs');
    this.#path = [dirname(process.execPath), environment().path].join(delimiter);
    mkdirSync(this.#programs, { recursive: true });
  }

  /** The configuration that is written here by default. */
  get config(): string {
    return join(this.home, 'triggerfs.toml');
  }

  /** A file in the home folder with one line. */
  file(name: string, line: string): string {
    const file = join(this.home, name);
    writeFileSync(file, `${line}\n`, { mode: 0o600 });
    return file;
  }

  /** Puts a shell script before the machine's program of that name. */
  program(name: string, script: string): void {
    writeFileSync(join(this.#programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }

  /** Programs of this machine that are not on this one's search path. */
  without(...names: readonly string[]): void {
    const folder = join(this.home, 'path');
    mkdirSync(folder);
    const programs = new Map<string, string>();
    for (const place of this.#path.split(delimiter).reverse()) {
      for (const name of listed(place)) programs.set(name, join(place, name));
    }
    for (const [name, file] of programs) if (!names.includes(name)) symlinkSync(file, join(folder, name));
    this.#path = folder;
  }

  /** Nothing of the person who runs the tests, but their npm cache and registry: what `npm ci` has fetched is not fetched again. */
  environment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    const { home = '/' } = environment();
    npm ??= npmSettings();
    return {
      HOME: this.home,
      PATH: [this.#programs, this.#path].join(delimiter),
      TERM: 'xterm',
      LANG: 'C.UTF-8',
      npm_config_cache: join(home, '.npm'),
      npm_config_userconfig: join(home, '.npmrc'),
      npm_config_prefer_offline: 'true',
      ...npm,
      // The embedded PostgreSQL is large, and no part of what is tested here.
      npm_config_omit: 'optional',
      ...extra,
    };
  }

  /** Runs the installer to its end without a terminal; as `curl ... | bash` does when it is piped. */
  run(
    args: readonly string[],
    options: { env?: Readonly<Record<string, string>>; user?: number; input?: string; piped?: boolean } = {},
  ): Promise<Installed> {
    const identity = options.user === undefined ? {} : { uid: options.user, gid: options.user };
    const child = spawn('bash', [...(options.piped ? ['-s', '--'] : [SCRIPT]), ...args], {
      cwd: this.home,
      env: this.environment(options.env),
      // Nobody is asked at the terminal of whoever runs the tests.
      detached: options.piped === true,
      ...identity,
    });
    let screen = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        screen += text;
      });
    }
    child.stdin.on('error', () => undefined);
    child.stdin.end((options.piped ? readFileSync(SCRIPT, 'utf8') : '') + (options.input ?? ''));
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, screen }));
    });
  }
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The newest code that a server without mail has printed for an identity. */
export async function activationCode(printed: () => string, identity: string): Promise<string> {
  const pattern = new RegExp(`Welcome to triggerFS, ${identity}\\.\\s+Your activation code is ([A-Z0-9-]+)`, 'g');
  return until(() => [...printed().matchAll(pattern)].at(-1)?.[1], { what: `the activation code of ${identity}` });
}
