import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { TriggerFsError } from '../protocol/errors.ts';
import { PORT_OPTIONS, type PortName } from './options.ts';

/** Which port somebody wants to listen on. */
export interface PortWish {
  readonly name: PortName;
  readonly host: string;
  /** As asked for on the command line: null for "as before", 0 for any. */
  readonly asked: number | null;
  /** The one of the configuration: what was used last, or the default. */
  readonly configured: number;
  /** Whether the configuration existed before. */
  readonly kept: boolean;
}

/**
 * Decides the ports before anything is started, so that the addresses in the configuration stay true when a part is
 * restarted. With 0 the previous port is taken again where it is free.
 * @throws TriggerFsError TFS_CONFIG naming the port and the option
 */
export async function choosePorts(wishes: readonly PortWish[]): Promise<Record<PortName, number>> {
  const ports: Record<PortName, number> = { api: 0, broker: 0, gateway: 0 };
  const taken: Server[] = [];
  try {
    for (const wish of wishes) {
      const server = await take(wish);
      taken.push(server);
      ports[wish.name] = (server.address() as AddressInfo).port;
    }
  } finally {
    for (const server of taken) server.close();
  }
  return ports;
}

async function take(wish: PortWish): Promise<Server> {
  const { name, host, asked, configured, kept } = wish;
  const wanted = asked ?? configured;
  if (wanted !== 0) {
    return listen(host, wanted).catch((cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EADDRINUSE' ? 'it is in use' : cause.message;
      const option = `--${PORT_OPTIONS[name]}`;
      throw new TriggerFsError(
        'TFS_CONFIG',
        `the ${name} cannot listen on ${host}:${wanted}: ${reason}; choose another port with ${option} (0 takes a free one)`,
        { cause },
      );
    });
  }
  if (kept && configured !== 0) {
    const again = await listen(host, configured).catch(() => null);
    if (again !== null) return again;
  }
  return listen(host, 0);
}

async function listen(host: string, port: number): Promise<Server> {
  const server = createServer();
  server.listen({ host, port, exclusive: true });
  await once(server, 'listening');
  return server;
}
