import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import {
  CommitPage,
  CommitQuery,
  CommitReference,
  ConfigurationCheck,
  ConfigurationChecked,
  ConfigurationCommit,
  ConfigurationCommitted,
  ConfigurationLock,
  ConfigurationRollback,
  ConfigurationRolledBack,
  ConfigurationView,
  LockRequest,
} from '../../protocol/http/configuration.ts';
import { isAdmin } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { Commits } from './commits.ts';
import * as repository from './repository.ts';

/** A whole team in one text. */
const BODY_BYTES = 8 * 1024 * 1024;
const HANDLER_MS = 120_000;
const PAGE = 50;
const LOCK_MINUTES = 30;

/** The team's configuration as commands: read, check, commit, confirm, roll back, and who did what. */
export function registerConfiguration(app: App, { database }: Services): void {
  const commits = new Commits(database);
  registerReading(app, database, commits);
  registerCommits(app, commits);
  registerLock(app, database);
}

function registerReading(app: App, database: Services['database'], commits: Commits): void {
  app.get(
    '/v1/configuration',
    { config: { policy: 'read' }, schema: { summary: 'The team as commands that rebuild it', response: { 200: ConfigurationView } } },
    async (request) => commits.view(principalOf(request)),
  );

  app.get(
    '/v1/configuration/commits',
    {
      config: { policy: 'read' },
      schema: { summary: 'Own commits, the newest first; admins see all', querystring: CommitQuery, response: { 200: CommitPage } },
    },
    async (request) => {
      const principal = principalOf(request);
      const { before, limit } = request.query;
      const page = { before: before === undefined ? null : Number(before), limit: Number(limit ?? PAGE) };
      const items = await database.inTeam(principal.teamId, (tx) => repository.listCommits(tx, principal, page));
      return { items, next: items.length === page.limit ? (items.at(-1)?.id ?? null) : null };
    },
  );
}

function registerCommits(app: App, commits: Commits): void {
  app.post(
    '/v1/configuration/check',
    {
      config: { policy: 'change' },
      bodyLimit: BODY_BYTES,
      handlerTimeout: HANDLER_MS,
      schema: {
        summary: 'What would be after commands, without keeping anything',
        body: ConfigurationCheck,
        response: { 200: ConfigurationChecked },
      },
    },
    async (request) => {
      awaitLong(request);
      return commits.check(principalOf(request), request.body);
    },
  );

  app.post(
    '/v1/configuration/commit',
    {
      config: { policy: 'change' },
      bodyLimit: BODY_BYTES,
      handlerTimeout: HANDLER_MS,
      schema: { summary: 'Apply commands, all or none of them', body: ConfigurationCommit, response: { 200: ConfigurationCommitted } },
    },
    async (request) => {
      awaitLong(request);
      return commits.commit(principalOf(request), request.ip, request.body);
    },
  );

  app.post(
    '/v1/configuration/confirm',
    { config: { policy: 'change' }, schema: { summary: 'Keep the commit that waits for it', response: { 200: CommitReference } } },
    async (request) => ({ id: await commits.confirm(principalOf(request)) }),
  );

  app.post(
    '/v1/configuration/rollback',
    {
      // It restores the whole team, whoever owns what.
      config: { policy: 'administer' },
      handlerTimeout: HANDLER_MS,
      schema: { summary: 'Go back to the state before a commit', body: ConfigurationRollback, response: { 200: ConfigurationRolledBack } },
    },
    async (request) => {
      awaitLong(request);
      const { number, comment = '' } = request.body;
      return commits.rollback(principalOf(request), request.ip, number, comment);
    },
  );
}

function registerLock(app: App, database: Services['database']): void {
  app.post(
    '/v1/configuration/lock',
    {
      config: { policy: 'change' },
      schema: { summary: 'Keep others from committing, or keep that longer', body: LockRequest, response: { 200: ConfigurationLock } },
    },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, async (tx) => {
        await repository.serialize(tx, principal.teamId);
        const lock = await repository.currentLock(tx, principal.teamId);
        if (lock !== null && lock.holderId !== principal.id) {
          throw new TriggerFsError('TFS_CONFLICT', `${lock.holder} holds the configuration exclusively until ${lock.expiresAt}`);
        }
        return repository.takeLock(tx, principal, request.body.minutes ?? LOCK_MINUTES);
      });
    },
  );

  app.delete(
    '/v1/configuration/lock',
    { config: { policy: 'change' }, schema: { summary: 'Let others commit again', response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await database.inTeam(principal.teamId, async (tx) => {
        const lock = await repository.currentLock(tx, principal.teamId);
        if (lock !== null && lock.holderId !== principal.id && !isAdmin(principal)) {
          throw new TriggerFsError('TFS_FORBIDDEN', `the lock is ${lock.holder}'s; only they and admins release it`);
        }
        await repository.releaseLock(tx, principal.teamId);
      });
      return reply.code(204).send(null);
    },
  );
}

/** Keeps the connection of a long commit open while nothing is sent on it; the next request sets the server's time again. */
function awaitLong(request: FastifyRequest): void {
  request.raw.socket.setTimeout(HANDLER_MS);
}
