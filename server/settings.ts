import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, loadConfig, parseConfig } from '../runtime/config/index.ts';
import type { Environment } from '../runtime/environment.ts';
import type { PortName } from './options.ts';
import { setKey } from './toml-edit.ts';

/** What a new configuration says; the server adds addresses, secrets and paths. */
const TEMPLATE = `# Configuration of triggerFS on this machine, written by triggerfs-server. Yours to edit: later starts change only
# the ports, the address of the API and the mountpoint, when they differ. All keys: docs/configuration.md

[main]
api = ""
team = "demo"
identity = "demo"
secret = ""
# The key to what is kept of requests. Back it up: without it nobody can read that any more.
masterkey = "master.key"

[triggerfs]
mountpoint = ""
logfile = "triggerfs.log"
spool = "spool"

[workers]
# Running work gets this long when the server stops.
grace = "2s"

[workers.demo.demo01]
token = ""

[control-plane]
port = 8642

[broker]
port = 5555
gateway_port = 8643
keyfile = "broker.key"
drain = "2s"
`;

/** The values that the server itself puts into the configuration. */
export interface Managed {
  readonly ports: Readonly<Record<PortName, number>>;
  /** Null leaves it as it is. */
  readonly mountpoint: string | null;
}

/** The secrets that the demo content is made with. */
export interface DemoSecrets {
  readonly secret: string;
  readonly workerToken: string;
}

/** The `triggerfs.toml` of a data folder: read by every part, kept over restarts, readable by its owner only. */
export class Settings {
  readonly file: string;
  /** Whether the file was there before. */
  readonly kept: boolean;
  #text: string;

  private constructor(file: string, text: string, kept: boolean) {
    this.file = file;
    this.kept = kept;
    this.#text = text;
  }

  /** Reads the file of a folder, or prepares a new one with random secrets. @throws TriggerFsError TFS_CONFIG */
  static read(folder: string, env: Environment): Settings {
    const file = join(folder, 'triggerfs.toml');
    if (existsSync(file)) {
      loadConfig(env, file);
      return new Settings(file, withToken(readFileSync(file, 'utf8'), file), true);
    }
    const text = setKey(TEMPLATE, 'main', 'secret', randomBytes(18).toString('base64url'));
    return new Settings(file, withToken(text, file), false);
  }

  /** The configuration as it is now. */
  get config(): Config {
    return parseConfig(this.#text, this.file);
  }

  /** The secrets of the demo content. */
  get demo(): DemoSecrets {
    const { main, workerCredentials } = this.config;
    return {
      // Only used where the user does not exist; an emptied secret must not become an empty password.
      secret: main.secret || randomBytes(18).toString('base64url'),
      workerToken: workerCredentials.get('demo')?.get('demo01')?.token ?? '',
    };
  }

  /** Takes over addresses and paths and writes the file, all at once or not at all. */
  async save({ ports, mountpoint }: Managed): Promise<void> {
    const entries: [section: string, key: string, value: string | number][] = [
      ['main', 'api', `http://${reachable(this.config['control-plane'].host)}:${ports.api}`],
      ['control-plane', 'port', ports.api],
      ['broker', 'port', ports.broker],
      ['broker', 'gateway_port', ports.gateway],
    ];
    if (mountpoint !== null) entries.push(['triggerfs', 'mountpoint', mountpoint]);
    for (const [section, key, value] of entries) this.#text = setKey(this.#text, section, key, value);
    const fresh = `${this.file}.new`;
    await writeFile(fresh, this.#text, { mode: 0o600 });
    await chmod(fresh, 0o600);
    await rename(fresh, this.file);
  }
}

/** The demo worker always has a token, also when somebody removed its section. */
function withToken(text: string, file: string): string {
  const token = parseConfig(text, file).workerCredentials.get('demo')?.get('demo01')?.token;
  return token ? text : setKey(text, 'workers.demo.demo01', 'token', randomUUID());
}

/** How programs of this machine write the address of a listener: one that listens everywhere is reached by the loopback. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
