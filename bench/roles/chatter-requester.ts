import type { CallHandlers } from '../../client/index.ts';
import { Client } from '../../client/index.ts';
import { Credentials } from '../../runtime/credentials.ts';
import { silentLogger } from '../../runtime/logging.ts';
import type { Role } from './role.ts';
import type { TriggerFsTarget } from './triggerfs-requester.ts';

/** Runs that write at a steady rate, all at once. */
export interface ChatterCommand {
  readonly runs: number;
  /** Pieces of output of one run. */
  readonly perSecond: number;
  readonly bytes: number;
  readonly ms: number;
}

/** What the caller got. */
export interface ChatterFigures {
  readonly chunks: number;
  readonly bytes: number;
  readonly failures: number;
  readonly firstFailure: string | null;
}

/** Starts chattering plugins through a broker and reads what they say. */
export async function start({ api, team, identity, secret, service, plugin, region }: TriggerFsTarget): Promise<Role> {
  const log = silentLogger();
  const credentials = new Credentials({ api, method: { kind: 'user', team, identity, secret }, log });
  const client = new Client({ credentials, log, agent: 'bench', region });
  await client.start();
  const route = client.route({ service, plugin });
  return {
    call: (command) => {
      const { runs, ...said } = command as ChatterCommand;
      const finished = Promise.withResolvers<ChatterFigures>();
      const figures = { chunks: 0, bytes: 0, failures: 0, firstFailure: null as string | null };
      let open = runs;
      const handlers: CallHandlers = {
        output: (_call, data) => {
          figures.chunks += 1;
          figures.bytes += data.length;
        },
        done: (_call, { verdict, detail }) => {
          if (verdict !== 'ok') {
            figures.failures += 1;
            figures.firstFailure ??= `${verdict} ${detail}`;
          }
          open -= 1;
          if (open === 0) finished.resolve(figures);
        },
      };
      const payload = Buffer.from(JSON.stringify(said));
      for (let i = 0; i < runs; i += 1) route.send(payload, handlers, { timeoutMs: said.ms + 60_000 });
      return finished.promise;
    },
    stop: async () => {
      await client.stop();
      credentials.stop();
    },
  };
}
