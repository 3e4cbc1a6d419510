import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { Logger } from '../runtime/logging.ts';
import type { TeamKeys } from '../runtime/sealing/index.ts';
import type { FairQueue } from './auth/fair-queue.ts';
import type { Sessions } from './auth/sessions.ts';
import type { Database } from './database.ts';
import type { Metrics } from './health/metrics.ts';
import type { HistoryMetrics } from './history/history-metrics.ts';
import type { KeyRing } from './keys/key-ring.ts';
import type { Mailer } from './people/mailer.ts';
import type { Queue } from './queue/queue.ts';

/** The API's Fastify, typed by its TypeBox schemas. */
export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

/** What routes work with. */
export interface Services {
  readonly database: Database;
  /** Apart from `database`, so that a flood of password checks cannot take its connections. */
  readonly logins: Database;
  /** In which work with password hashes takes turns. */
  readonly hashing: FairQueue;
  readonly keys: KeyRing;
  /** Open and seal what is kept of requests. */
  readonly teamKeys: TeamKeys;
  readonly sessions: Sessions;
  readonly mailer: Mailer;
  readonly queue: Queue;
  /** Whether strangers may sign up. */
  readonly signup: boolean;
  /** Null: not served. */
  readonly metrics: Metrics | null;
  /** Null: not measured. */
  readonly historyMetrics: HistoryMetrics | null;
  readonly log: Logger;
  /** bcrypt cost of new passwords. */
  readonly passwordCost: number;
  /** Requests per second and client address, averaged over a minute. */
  readonly requestsPerSecond: number;
  /** Addresses of reverse proxies with commas between, whose word about the address of a client is believed; empty: nobody's. */
  readonly proxies: string;
}
