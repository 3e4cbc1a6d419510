import { context } from 'zeromq';
import type { Announce } from '../../protocol/control.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { RecordType } from '../../protocol/records.ts';
import { logIn } from '../../runtime/credentials.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { Uplink, type UplinkEvents } from '../../runtime/wire/uplink.ts';
import type { Role } from './role.ts';

/** Whose sessions are opened. */
export interface IdleWorkers {
  readonly api: string;
  readonly team: string;
  readonly region: string;
  readonly workers: readonly { readonly identity: string; readonly token: string }[];
}

/** A socket and its two monitor sockets for each worker, and some for ZeroMQ itself. */
const SOCKETS_PER_WORKER = 4;
const LOGINS_AT_ONCE = 16;
/** Logins a second: below the control-plane's limit for one address. */
const LOGIN_PAUSE_MS = 160;
const ANNOUNCE: Announce = {
  concurrency: 1,
  services: [],
  plugins: [{ name: 'echo', version: '1.0.0', kind: 'resident' }],
  version: 'bench',
};

/** Many workers in one process, each with a login, a CURVE connection and a session of its own; they do nothing but live. A command returns how many sessions are open. */
export async function start({ api, team, region, workers }: IdleWorkers): Promise<Role> {
  context.maxSockets = workers.length * SOCKETS_PER_WORKER + 64;
  const uplinks: Uplink[] = [];
  for (let first = 0; first < workers.length; first += LOGINS_AT_ONCE) {
    const startedAt = performance.now();
    const group = workers.slice(first, first + LOGINS_AT_ONCE);
    const sessions = await Promise.all(group.map(({ identity, token }) => logIn(api, { kind: 'worker', team, identity, token, region })));
    for (const session of sessions) uplinks.push(open(session));
    await new Promise((resolve) => setTimeout(resolve, LOGIN_PAUSE_MS - (performance.now() - startedAt)));
  }
  return {
    call: async () => uplinks.filter((uplink) => uplink.ready).length,
    stop: async () => void (await Promise.all(uplinks.map((uplink) => uplink.stop()))),
  };
}

function open(session: SessionResponse): Uplink {
  const [broker] = session.brokers;
  if (broker === undefined) throw new Error('the login names no broker');
  const nothing = (): void => undefined;
  const events: UplinkEvents = {
    ready: nothing,
    record: (uplink, type) => {
      if (type === RecordType.config) uplink.outbox.json(RecordType.announce, ANNOUNCE);
    },
    lost: nothing,
    refused: nothing,
    drain: nothing,
    brokers: nothing,
  };
  const credentials = async () => ({ hello: { token: session.edgeToken, agent: 'bench-idle' }, channelKey: session.channelKey });
  const uplink = new Uplink({ broker, credentials, events, log: silentLogger() });
  uplink.start();
  return uplink;
}
