import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { libfuseEnvironment } from '../../fs/libfuse.ts';
import type { Content, TriggerRule } from '../stage/content.ts';
import { MAIN_REGION } from '../stage/platform.ts';
import { RoleProcess } from '../stage/role.ts';
import type { Stage } from '../stage/stage.ts';
import { until } from '../stage/wait.ts';
import type { BenchContext } from './bench.ts';
import { untilAnswered } from './warm-up.ts';

/** Why nothing can be mounted here, or null. */
export function cannotMount(): string | null {
  return existsSync('/dev/fuse') ? null : 'there is no /dev/fuse';
}

/** A mount with trigger files whose writes a worker appends to plain files. */
export interface TriggerMount {
  readonly folder: string;
  /** Path of the trigger `name` inside the mount. */
  trigger(name: string): string;
  /** Plain file that the writes to the trigger `name` end up in. */
  target(name: string): string;
}

/** Starts broker, worker and mount, with a trigger for each name. */
export async function mountTriggers({ stage, platform }: BenchContext, team: string, names: readonly string[]): Promise<TriggerMount> {
  const started = await platform();
  const content = await started.team(team);
  const service = `${team}-service`;
  const [login] = await content.service(service, [`${team}-worker`]);
  if (login === undefined) throw new Error('no worker was made');
  await started.mainBroker();
  started.worker(content, login, MAIN_REGION, { concurrency: 4096 });
  const folder = stage.subfolder(`${team}-mount`);
  const targets = stage.subfolder(`${team}-targets`);
  const target = (name: string): string => join(targets, name);
  for (const name of names) await content.trigger(service, ruleOf(name, target(name)));
  await waitForWorker(stage, started.api, content, service);
  stage.add(`mount ${folder}`, () => detachLeftOver(folder));
  await started.mount(content, `${team}-fs`, MAIN_REGION, folder);
  const trigger = (name: string): string => join(folder, 'bench', name);
  await until(`${trigger(names[0] as string)} to appear`, () => existsSync(trigger(names[0] as string)), 10_000);
  return { folder, trigger, target };
}

/** Mounts files whose writes are answered and forgotten, in a process like ours; returns the folder. */
export async function mountNoop(stage: Stage, name: string, files: readonly string[]): Promise<string> {
  const mountpoint = stage.subfolder(`${name}-noop-mount`);
  stage.add(`mount ${mountpoint}`, () => detachLeftOver(mountpoint));
  await RoleProcess.start(stage, 'noop-mount', { mountpoint, files }, `${name}-noop`, libfuseEnvironment(stage.folder));
  return mountpoint;
}

/** Detaches what a process that was killed left mounted. */
function detachLeftOver(folder: string): void {
  if (readFileSync('/proc/self/mounts', 'utf8').includes(` ${folder} `)) execFileSync('umount', ['-l', folder]);
}

function ruleOf(name: string, path: string): TriggerRule {
  return { directory: '/bench', name, plugin: 'file/append', args: { path } };
}

async function waitForWorker(stage: Stage, api: string, content: Content, service: string): Promise<void> {
  const load = await RoleProcess.start(stage, 'triggerfs-requester', {
    api,
    ...content.account,
    service,
    plugin: 'echo',
    region: MAIN_REGION,
  });
  await untilAnswered(load, 8);
  await load.program.stop();
}
