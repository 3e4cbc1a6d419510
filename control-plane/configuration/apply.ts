import { OBJECTS, type Operation } from '../../protocol/configuration/operations.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { CommandResult } from '../../protocol/http/configuration.ts';
import type { ScheduleChange } from '../../protocol/http/schedule.ts';
import type { ServiceChange } from '../../protocol/http/service.ts';
import type { TriggerChange } from '../../protocol/http/trigger.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { assertMayChange, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import * as directories from '../directories/repository.ts';
import * as schedules from '../schedules/repository.ts';
import { deleteHook, needsSecret, putHook } from '../services/hooks.ts';
import * as services from '../services/repository.ts';
import { changeTeam } from '../teams/repository.ts';
import * as triggers from '../triggers/repository.ts';
import * as workers from '../workers/repository.ts';
import { existsNamed } from './repository.ts';
import { type NamedWorker, WorkerNames } from './worker-names.ts';

/** What applying an operation tells its author. */
export type Outcome = Pick<CommandResult, 'notice' | 'worker'>;

/** An operation with one of these verbs. */
type Of<V extends Operation['verb']> = Extract<Operation, { verb: V }>;

const SILENT: Outcome = { notice: null, worker: null };
const NEW_DIRECTORY = 0o775;

/**
 * Applies operations within one transaction, with the rights of one caller: the same checks as the routes of each object.
 * What is asked for and so already is no error but a notice, so that a text can be loaded again.
 */
export class Applier {
  readonly #tx: Transaction;
  readonly #principal: Principal;
  #workerNames: WorkerNames | null = null;
  /** The service that workers are being attached to: reading a thousand of them for each one more would be slow. */
  #attaching: { readonly name: string; readonly service: services.ServiceRow; readonly workers: Set<string> } | null = null;

  constructor(tx: Transaction, principal: Principal) {
    this.#tx = tx;
    this.#principal = principal;
  }

  /** @throws TriggerFsError for what is unknown, not the caller's, or in the way */
  apply(operation: Operation): Promise<Outcome> {
    if (operation.verb !== 'attach' || operation.name !== this.#attaching?.name) this.#attaching = null;
    switch (operation.verb) {
      case 'create':
        return this.#create(operation);
      case 'change':
        return this.#change(operation);
      case 'attach':
      case 'detach':
        return this.#item(operation);
      case 'argument':
        return this.#argument(operation);
      case 'http':
        return this.#http(operation);
      case 'hook':
        return this.#hook(operation);
      case 'delete':
        return this.#delete(operation);
      case 'rename':
        return this.#rename(operation);
    }
  }

  async #create(operation: Of<'create'>): Promise<Outcome> {
    const { object, name, settings } = operation;
    const exists = object === 'workers' ? (await this.#names()).has(name) : await existsNamed(this.#tx, this.#principal, object, name);
    const token = exists ? null : await this.#insert(operation);
    if (Object.keys(settings).length > 0) await this.#change({ verb: 'change', object, name, settings });
    return {
      notice: exists ? `the ${OBJECTS[object].singular} ${name} exists already` : null,
      worker: token === null ? null : { identity: name, token },
    };
  }

  /** Returns the token of a new worker. */
  async #insert({ object, name }: Of<'create'>): Promise<string | null> {
    const [tx, principal] = [this.#tx, this.#principal];
    switch (object) {
      case 'workers':
        return this.#insertWorker(name);
      case 'services':
        await services.createService(tx, principal, name);
        return null;
      case 'directories':
        await directories.createDirectory(tx, principal, name, NEW_DIRECTORY);
        return null;
      case 'triggers':
        await triggers.createTrigger(tx, principal, name);
        return null;
      case 'schedules':
        await schedules.createSchedule(tx, principal, name);
        return null;
      default:
        throw elsewhere(object);
    }
  }

  async #insertWorker(identity: string): Promise<string> {
    const { id, token } = await workers.createWorker(this.#tx, this.#principal, { identity, description: '' });
    (await this.#names()).add({ id, identity, ownerId: this.#principal.id });
    return token;
  }

  async #change({ object, name, settings }: Of<'change'>): Promise<Outcome> {
    const [tx, { teamId }] = [this.#tx, this.#principal];
    switch (object) {
      case 'teams':
        this.#assertTeam(name);
        await changeTeam(tx, teamId, settings);
        return SILENT;
      case 'workers':
        await workers.changeWorker(tx, teamId, (await this.#worker(name)).id, settings);
        return SILENT;
      case 'services': {
        const service = await this.#service(name);
        this.#assertMayHide(settings.visibility, service.ownerId, `the service ${service.name}`);
        await services.changeService(tx, teamId, service.id, settings as ServiceChange);
        return SILENT;
      }
      case 'directories':
        await directories.changeMode(tx, teamId, (await this.#directory(name)).id, settings.mode as number);
        return SILENT;
      case 'triggers': {
        const trigger = await this.#trigger(name);
        this.#assertMayHide(settings.visibility, trigger.ownerId, `the trigger ${trigger.path}`);
        await triggers.changeTrigger(tx, this.#principal, trigger.id, settings as TriggerChange);
        return SILENT;
      }
      case 'schedules':
        await schedules.changeSchedule(tx, teamId, await this.#schedule(name), settings as ScheduleChange);
        return SILENT;
      default:
        throw elsewhere(object);
    }
  }

  #item(operation: Of<'attach' | 'detach'>): Promise<Outcome> {
    if (operation.list === 'service') return this.#triggerService(operation);
    return operation.list === 'workers' ? this.#serviceWorker(operation) : this.#servicePlugin(operation);
  }

  async #serviceWorker({ verb, name, item }: Of<'attach' | 'detach'>): Promise<Outcome> {
    const [tx, principal] = [this.#tx, this.#principal];
    const { service, workers: members } = await this.#membersOf(name);
    const worker = (await this.#names()).find(item);
    const attached = members.has(worker.identity);
    if (verb === 'attach') {
      if (attached) return note(`the worker ${worker.identity} is attached to ${service.name} already`);
      await services.attachWorker(tx, principal.teamId, service.id, worker.id);
      members.add(worker.identity);
      const { algorithm } = service;
      const Algorithm = `${algorithm[0]?.toUpperCase()}${algorithm.slice(1)}`;
      return note(
        `this service has algorithm ${algorithm}. ${Algorithm} is handled by the broker. Running workers take up the change by themselves.`,
      );
    }
    if (!attached) throw new TriggerFsError('TFS_NOT_FOUND', `the worker ${worker.identity} is not attached to ${service.name}`);
    await services.detachWorker(tx, principal.teamId, service.id, worker.id);
    members.delete(worker.identity);
    return SILENT;
  }

  async #membersOf(name: string): Promise<{ service: services.ServiceRow; workers: Set<string> }> {
    if (this.#attaching === null) {
      const service = await this.#service(name);
      this.#attaching = { name, service, workers: new Set(service.workers) };
    }
    return this.#attaching;
  }

  async #servicePlugin({ verb, name, item }: Of<'attach' | 'detach'>): Promise<Outcome> {
    const service = await this.#service(name);
    const allowed = service.plugins ?? [];
    if (verb === 'attach' && allowed.includes(item)) return note(`the plugin ${item} is allowed already`);
    if (verb === 'detach' && !allowed.includes(item)) {
      throw new TriggerFsError('TFS_NOT_FOUND', `the service ${service.name} does not list the plugin ${item}`);
    }
    const plugins = verb === 'attach' ? [...allowed, item] : allowed.filter((plugin) => plugin !== item);
    await services.changeService(this.#tx, this.#principal.teamId, service.id, { plugins });
    const wasOpen = verb === 'attach' && service.plugins === null;
    return wasOpen ? note(`${service.name} allowed every plugin before, and allows only ${item} now`) : SILENT;
  }

  async #triggerService({ verb, name, item }: Of<'attach' | 'detach'>): Promise<Outcome> {
    const trigger = await this.#trigger(name);
    if (verb === 'detach' && trigger.service?.toLowerCase() !== item.toLowerCase()) {
      throw new TriggerFsError('TFS_NOT_FOUND', `the trigger ${trigger.path} is not attached to the service ${item}`);
    }
    await triggers.changeTrigger(this.#tx, this.#principal, trigger.id, { service: verb === 'attach' ? item : null });
    return SILENT;
  }

  async #argument({ object, name, key, value }: Of<'argument'>): Promise<Outcome> {
    const owner = object === 'triggers' ? await this.#trigger(name) : await this.#schedule(name);
    const what = `the ${OBJECTS[object].singular} ${'path' in owner ? owner.path : owner.name}`;
    const { [key]: old, ...others } = owner.args;
    if (value === null && old === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `${what} has no argument ${key}`);
    const args = value === null ? others : { ...others, [key]: value };
    const bytes = Buffer.byteLength(JSON.stringify(args));
    if (bytes > LIMITS.argsBytes)
      throw new TriggerFsError('TFS_TOO_LARGE', `the arguments have ${bytes} bytes, more than ${LIMITS.argsBytes}`);
    if ('path' in owner) await triggers.changeTrigger(this.#tx, this.#principal, owner.id, { args });
    else await schedules.changeSchedule(this.#tx, this.#principal.teamId, owner, { args });
    return SILENT;
  }

  async #http({ name, change }: Of<'http'>): Promise<Outcome> {
    await services.changeHttp(this.#tx, this.#principal.teamId, (await this.#service(name)).id, change);
    return SILENT;
  }

  async #hook({ name, hook, change }: Of<'hook'>): Promise<Outcome> {
    const [tx, { teamId }] = [this.#tx, this.#principal];
    const { id, name: service } = await this.#service(name);
    if (change === null) await deleteHook(tx, teamId, id, hook);
    else if (await putHook(tx, teamId, id, hook, change)) return note(needsSecret(service, hook));
    return SILENT;
  }

  async #delete({ object, name }: Of<'delete'>): Promise<Outcome> {
    const [tx, { teamId }] = [this.#tx, this.#principal];
    switch (object) {
      case 'workers':
        return this.#deleteWorker(name);
      case 'services':
        await services.deleteService(tx, teamId, (await this.#service(name)).id);
        return SILENT;
      case 'directories':
        await directories.deleteDirectory(tx, teamId, (await this.#directory(name)).id);
        return SILENT;
      case 'triggers':
        await triggers.deleteTrigger(tx, teamId, (await this.#trigger(name)).id);
        return SILENT;
      case 'schedules':
        await schedules.deleteSchedule(tx, teamId, (await this.#schedule(name)).id);
        return SILENT;
      default:
        throw elsewhere(object);
    }
  }

  async #rename({ object, name, to }: Of<'rename'>): Promise<Outcome> {
    const [tx, principal] = [this.#tx, this.#principal];
    switch (object) {
      case 'teams':
        this.#assertTeam(name);
        await changeTeam(tx, principal.teamId, { name: to });
        return SILENT;
      case 'workers':
        return this.#renameWorker(name, to);
      case 'services':
        await services.changeService(tx, principal.teamId, (await this.#service(name)).id, { name: to });
        return SILENT;
      case 'directories':
        await directories.moveDirectory(tx, principal.teamId, (await this.#directory(name)).path, to);
        return SILENT;
      case 'schedules':
        await schedules.changeSchedule(tx, principal.teamId, await this.#schedule(name), { name: to });
        return SILENT;
      case 'triggers': {
        const trigger = await this.#trigger(name);
        const path = to.startsWith('/') ? to : `${trigger.path.slice(0, trigger.path.lastIndexOf('/'))}/${to}`;
        directories.assertPath(path);
        await triggers.changeTrigger(tx, principal, trigger.id, { path });
        return SILENT;
      }
      default:
        throw elsewhere(object);
    }
  }

  async #deleteWorker(name: string): Promise<Outcome> {
    const worker = await this.#worker(name);
    await workers.deleteWorker(this.#tx, this.#principal.teamId, worker.id);
    (await this.#names()).remove(worker);
    return SILENT;
  }

  async #renameWorker(name: string, to: string): Promise<Outcome> {
    const worker = await this.#worker(name);
    await workers.changeWorker(this.#tx, this.#principal.teamId, worker.id, { identity: to });
    const names = await this.#names();
    names.remove(worker);
    names.add({ ...worker, identity: to });
    return note(`the worker now logs in as ${to}: rename its section in triggerfs.toml`);
  }

  async #names(): Promise<WorkerNames> {
    this.#workerNames ??= await WorkerNames.read(this.#tx, this.#principal.teamId);
    return this.#workerNames;
  }

  async #worker(name: string): Promise<NamedWorker> {
    const worker = (await this.#names()).find(name);
    assertMayChange(this.#principal, worker.ownerId, `the worker ${worker.identity}`);
    return worker;
  }

  async #service(name: string): Promise<services.ServiceRow> {
    const service = await services.findService(this.#tx, this.#principal, name);
    assertMayChange(this.#principal, service.ownerId, `the service ${service.name}`);
    return service;
  }

  async #trigger(name: string): Promise<triggers.TriggerRow> {
    const trigger = await triggers.findTrigger(this.#tx, this.#principal, name);
    assertMayChange(this.#principal, trigger.ownerId, `the trigger ${trigger.path}`);
    return trigger;
  }

  async #schedule(name: string): Promise<schedules.ScheduleRow> {
    const schedule = await schedules.findSchedule(this.#tx, this.#principal.teamId, name);
    assertMayChange(this.#principal, schedule.ownerId, `the schedule ${schedule.name}`);
    return schedule;
  }

  async #directory(path: string): Promise<directories.DirectoryRow> {
    const directory = await directories.findDirectory(this.#tx, this.#principal.teamId, path);
    assertMayChange(this.#principal, directory.ownerId, `the directory ${directory.path}`);
    return directory;
  }

  /** The team itself is for its owners; others are answered the same whether they exist or not. */
  #assertTeam(name: string): void {
    const { role, team } = this.#principal;
    if (role !== 'owner') throw new TriggerFsError('TFS_FORBIDDEN', 'only owners change the team');
    if (name !== '' && name.toLowerCase() !== team.toLowerCase()) {
      throw new TriggerFsError('TFS_WRONG_TEAM', `this session works in the team ${team}, not in ${name}`);
    }
  }

  /** What is made local belongs to its owner alone, so only the owner hides it. */
  #assertMayHide(visibility: unknown, ownerId: number | null, what: string): void {
    if (visibility !== 'local' || ownerId === this.#principal.id) return;
    throw new TriggerFsError('TFS_FORBIDDEN', `only its owner makes ${what} local`);
  }
}

function note(notice: string): Outcome {
  return { notice, worker: null };
}

function elsewhere(object: string): TriggerFsError {
  return new TriggerFsError('TFS_USAGE', `${object} are no part of the configuration`);
}
