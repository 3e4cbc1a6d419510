import { Context } from 'zeromq';
import type { Config } from '../runtime/config/index.ts';
import { configPath } from '../runtime/config/index.ts';
import { Lifecycle, type Stoppable } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/logging.ts';
import { createPool } from '../runtime/postgres/pool.ts';
import { MasterKey, TeamKeys } from '../runtime/sealing/index.ts';
import { BulkWriter } from './directory/bulk-writer.ts';
import { Directory } from './directory/directory.ts';
import { Doorbell } from './directory/doorbell.ts';
import { MaintenanceClock } from './directory/maintenance-clock.ts';
import { MaintenanceTurn } from './directory/maintenance-turn.ts';
import { Registration } from './directory/registration.ts';
import { Dispatcher } from './dispatch/dispatcher.ts';
import { Gateway } from './gateway/gateway.ts';
import { HISTORY_LIMIT_BYTES } from './history/budget.ts';
import { HistoryWriter } from './history/history-writer.ts';
import { Recorder } from './history/recorder.ts';
import { TeamSecrets } from './history/team-secrets.ts';
import { loadIdentity } from './identity.ts';
import { BrokerMetrics } from './metrics.ts';
import { FireWriter } from './schedules/fire-writer.ts';
import { ResidentDesk } from './schedules/resident-desk.ts';
import { Admission } from './session/admission.ts';
import { Authenticator } from './session/authenticator.ts';
import { Sessions } from './session/sessions.ts';
import { Transport } from './session/transport.ts';

const SWEEP_MS = 250;
const PROBE_MS = 50;
const DRAIN_NOTICE_MS = 300;
const OVERLOAD_BYTES = 256 * 1024 * 1024;

/** Options of `startBroker`. */
export interface BrokerOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly log: Logger;
  /** Called once when announced maintenance has begun and it is this broker's turn: time to drain and start again. */
  readonly onMaintenance?: () => void;
  /** Memory for history that waits for the database, in bytes. Only tests lower it. */
  readonly historyLimitBytes?: number;
}

/** A running broker. */
export interface Broker extends Stoppable {
  readonly id: string;
  readonly endpoint: string;
  readonly publicKey: string;
  /** Address of the HTTP gateway. */
  readonly gatewayUrl: string;
  readonly dispatcher: Dispatcher;
  readonly history: HistoryWriter;
  readonly sessions: Sessions;
  readonly directory: Directory;
}

/**
 * Starts a broker: reads the configuration, opens the port, registers with the fleet.
 * Its `stop` drains: peers are told, running work ends (up to [broker] drain), then the port closes.
 * @throws TriggerFsError TFS_CONFIG, or the database's error when the first read fails
 */
export async function startBroker({ config, databaseUrl, log, onMaintenance, historyLimitBytes }: BrokerOptions): Promise<Broker> {
  const section = config.broker;
  const identity = loadIdentity(configPath(config, section.keyfile));
  const lifecycle = new Lifecycle(log);
  try {
    const pool = createPool({ url: databaseUrl, role: 'triggerfs_edge', max: 4, name: 'triggerfs-broker', log });
    lifecycle.add('database pool', () => pool.end());
    const directory = new Directory(pool, log);
    const teamKeys = new TeamKeys(pool, await MasterKey.load(configPath(config, config.main.masterkey), pool));
    const secrets = new TeamSecrets(teamKeys, directory, log);
    const history = new HistoryWriter({ pool, brokerId: identity.id, secrets, log, limitBytes: historyLimitBytes ?? HISTORY_LIMIT_BYTES });
    await history.start();
    lifecycle.add('history', () => history.stop());
    const dispatcher = new Dispatcher(directory, new Recorder(directory, history), section.settle);
    history.relieved = dispatcher.creditReleased;
    const writer = new BulkWriter(pool, identity.id, dispatcher, log);
    const authenticator = new Authenticator(
      directory,
      throttle(1_000, () => void directory.sync().catch(() => undefined)),
    );
    const fires = new FireWriter({ pool, brokerId: identity.id, directory, secrets, log });
    const residents = new ResidentDesk({ pool, directory, writer: fires, log });
    const context = new Context({ blocky: false });
    const admission = new Admission(context, (key) => (directory.fleet.channelKeys.get(key) ?? 0) > Date.now(), log);
    const transport: Transport = new Transport(
      context,
      identity,
      {
        batch: (peer, routingId, batch) => sessions.batch(peer, routingId, batch),
        unreachable: (peer) => sessions.unreachable(peer),
        disconnected: collect(PROBE_MS, () => sessions.probe()),
      },
      log,
    );
    const sessions: Sessions = new Sessions({
      brokerId: identity.id,
      directory,
      dispatcher,
      authenticator,
      openOutbox: (routingId) => transport.outbox(routingId),
      residents,
      presenceChanged: writer.presenceChanged,
      log,
    });
    directory.onChange((teamId) => {
      if (teamId === 0) sessions.announceBrokers();
    });
    const turn = new MaintenanceTurn(pool, identity.id, log);
    lifecycle.add('maintenance turn', () => turn.stop());
    const maintenance = new MaintenanceClock((id) => {
      if (onMaintenance !== undefined) void turn.wait(id).then((come) => come && onMaintenance());
    });
    lifecycle.add('maintenance clock', () => maintenance.stop());
    directory.onChange((teamId) => {
      if (teamId === 0) maintenance.update(directory.fleet.maintenances);
    });
    await directory.sync();

    await admission.start((err) => {
      log.fatal({ err }, 'admission ended, giving up: without it nobody could connect');
      process.exit(70);
    });
    lifecycle.add('admission', () => admission.stop());
    const bound = await transport.start(section.host, section.port);
    lifecycle.add('port', () => transport.close());
    const endpoint = section.advertise === '' ? bound : section.advertise;
    const timer = setInterval(() => {
      dispatcher.sweep(Date.now());
      sessions.sweep();
      dispatcher.overloaded = transport.blockedBytes > OVERLOAD_BYTES;
    }, SWEEP_MS);
    lifecycle.add('sweeper', () => clearInterval(timer));
    writer.start();
    lifecycle.add('bulk writer', () => writer.stop());
    const metrics = new BrokerMetrics({ dispatcher, history, residents, fires, sessions, transport, admission, gateway: () => gateway });
    const gateway: Gateway = new Gateway({
      host: section.gateway_host,
      port: section.gateway_port,
      advertisedHost: URL.parse(section.advertise)?.hostname ?? '',
      brokerId: identity.id,
      directory,
      authenticator,
      sessions,
      pool,
      teamKeys,
      proxies: section.proxies,
      metrics: section.metrics ? metrics : null,
      log,
    });
    const gatewayUrl = await gateway.start();
    lifecycle.add('gateway', () => gateway.stop());
    const registration = new Registration(
      pool,
      { id: identity.id, endpoint, gatewayUrl, publicKey: identity.publicKey, region: section.region },
      writer.presenceChanged,
      log,
    );
    await registration.start();
    lifecycle.add('registration', () => registration.stop());
    const doorbell = new Doorbell({ url: databaseUrl, ring: () => directory.sync().then(() => residents.synced()), log });
    doorbell.start();
    lifecycle.add('doorbell', () => doorbell.stop());
    lifecycle.add('sessions', () => drain({ registration, gateway, sessions, dispatcher, transport, limitMs: section.drain, log }));
    log.info(`broker ${identity.id} listens on ${endpoint}, its gateway on ${gatewayUrl}`);
    return {
      id: identity.id,
      endpoint,
      publicKey: identity.publicKey,
      gatewayUrl,
      dispatcher,
      history,
      sessions,
      directory,
      stop: () => lifecycle.stop(),
    };
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

interface DrainParts {
  readonly registration: Registration;
  readonly gateway: Gateway;
  readonly sessions: Sessions;
  readonly dispatcher: Dispatcher;
  readonly transport: Transport;
  readonly limitMs: number;
  readonly log: Logger;
}

/** Peers learn first and have a moment to turn to other brokers, so that hardly a request is refused; then running work ends. */
async function drain({ registration, gateway, sessions, dispatcher, transport, limitMs, log }: DrainParts): Promise<void> {
  const limit = Date.now() + limitMs;
  sessions.announceDrain();
  gateway.drain();
  await registration.drain();
  await pause(DRAIN_NOTICE_MS);
  dispatcher.draining = true;
  while (dispatcher.openRuns > 0 && Date.now() < limit) await pause(20);
  if (dispatcher.openRuns > 0) log.warn(`${dispatcher.openRuns} run(s) did not end within ${limitMs} ms`);
  await transport.flush(1_000);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs the action soon after a call, once for all calls until then. */
function collect(delayMs: number, action: () => void): () => void {
  let timer: NodeJS.Timeout | null = null;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      action();
    }, delayMs);
  };
}

function throttle(intervalMs: number, action: () => void): () => void {
  let last = 0;
  return () => {
    if (Date.now() - last < intervalMs) return;
    last = Date.now();
    action();
  };
}
