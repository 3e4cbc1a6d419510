import { randomUUID } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import {
  JsonWebKeySet,
  LoginRequest,
  LoginResponse,
  RenewRequest,
  SessionResponse,
  Whoami,
  WorkerLoginRequest,
} from '../../protocol/http/session.ts';
import { networkOf } from '../../runtime/network.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { countUnread } from '../mailbox/repository.ts';
import { Attempts } from './attempts.ts';
import { authenticateAccount, authenticateUser, authenticateWorker, revokeSession } from './repository.ts';
import { accountPrincipal, type ClientInfo, REVOCATION_S, sessionEnd } from './sessions.ts';

const FAILURES_PER_ACCOUNT = 5;
const FAILURES_PER_ADDRESS = 60;

/** Login of users and workers, renewal, logout and the public keys. */
export function registerAuth(app: App, { database, logins, hashing, keys, sessions }: Services): void {
  const perAccount = new Attempts(FAILURES_PER_ACCOUNT);
  const perAddress = new Attempts(FAILURES_PER_ADDRESS);

  /** Runs one check of credentials under both limits; only a wrong answer counts. Nobody is locked out by guesses from elsewhere. */
  async function attempt<T>(request: FastifyRequest, account: string, check: () => Promise<T | undefined>): Promise<T> {
    const network = networkOf(request.ip);
    const found = await perAddress.run(network, () => perAccount.run(`${network} ${account.toLowerCase()}`, check));
    if (found === undefined) throw new TriggerFsError('TFS_BAD_CREDENTIALS', 'team, identity or secret is wrong');
    return found;
  }

  /** A check that costs a hash: it takes turns with those of other addresses. */
  function attemptPassword<T>(request: FastifyRequest, identity: string, check: () => Promise<T | undefined>): Promise<T> {
    const network = networkOf(request.ip);
    return attempt(request, `user ${identity}`, () => hashing.run(network, perAddress.hasFailed(network), check));
  }

  async function logInToAccount(request: FastifyRequest, identity: string, secret: string): Promise<LoginResponse> {
    const person = await attemptPassword(request, identity, () => authenticateAccount(logins, identity, secret));
    if (person.pending) throw new TriggerFsError('TFS_FORBIDDEN', `the account ${person.identity} waits for its activation code`);
    const principal = accountPrincipal({ ...person, operator: false }, randomUUID(), Math.floor(Date.now() / 1000));
    return sessions.openForPerson(principal, undefined, clientOf(request));
  }

  app.post(
    '/v1/login',
    { config: { policy: 'public' }, schema: { summary: 'Log in as a user', body: LoginRequest, response: { 200: LoginResponse } } },
    async (request) => {
      const { team, identity, secret } = request.body;
      if (team === undefined) return logInToAccount(request, identity, secret);
      const user = await attemptPassword(request, identity, () => authenticateUser(logins, team, identity, secret));
      const auth = Math.floor(Date.now() / 1000);
      const session = { sid: randomUUID(), scopes: null, auth, notAfter: sessionEnd(auth, null), renewable: true };
      return sessions.openForPerson({ ...user, kind: 'user', operator: false, ...session }, undefined, clientOf(request));
    },
  );

  app.post(
    '/v1/workers/login',
    {
      config: { policy: 'public' },
      schema: { summary: 'Log in as a worker', body: WorkerLoginRequest, response: { 200: SessionResponse } },
    },
    async (request) => {
      const { team, identity, token, region } = request.body;
      const worker = await attempt(request, `worker ${team} ${identity}`, () => authenticateWorker(database, team, identity, token));
      const auth = Math.floor(Date.now() / 1000);
      const session = { sid: randomUUID(), scopes: null, auth, notAfter: sessionEnd(auth, null), renewable: true };
      return sessions.open({ ...worker, kind: 'worker', role: 'worker', operator: false, ...session }, region);
    },
  );

  app.post(
    '/v1/renew',
    {
      config: { policy: 'session' },
      schema: {
        summary: 'Fresh tokens for a session that is still good, or for an API token',
        body: Type.Union([RenewRequest, Type.Null()]),
        response: { 200: LoginResponse },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      if (!principal.renewable) throw new TriggerFsError('TFS_FORBIDDEN', 'renew with the API token itself');
      const isPerson = principal.kind === 'user' || principal.kind === 'account';
      if (isPerson) return sessions.openForPerson(principal, request.body?.region, clientOf(request));
      return sessions.open(principal, request.body?.region);
    },
  );

  app.post(
    '/v1/logout',
    { config: { policy: 'session' }, schema: { summary: 'End this session everywhere', response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      if (principal.kind === 'token') throw new TriggerFsError('TFS_FORBIDDEN', 'an API token has no login to end; delete the token');
      await database.asUser(principal, async (tx) => {
        await revokeSession(tx, principal.sid, REVOCATION_S);
        await tx.run('delete from triggerfs.sessions where session_id = $1', [principal.sid]);
      });
      return reply.code(204).send(null);
    },
  );

  app.get(
    '/v1/whoami',
    { config: { policy: 'session' }, schema: { summary: 'Who this token is', response: { 200: Whoami } } },
    async (request) => {
      const { kind, id, identity, team, teamId, role, scopes, operator } = principalOf(request);
      const who = { kind, id, identity, team: teamId === 0 ? null : team, role, scopes: scopes === null ? null : [...scopes], operator };
      return kind === 'user' || kind === 'account' ? { ...who, unread: await countUnread(database, id, teamId) } : who;
    },
  );

  for (const path of ['/v1/jwks.json', '/.well-known/jwks.json']) {
    app.get(
      path,
      { config: { policy: 'public' }, schema: { summary: 'Public keys that verify tokens', response: { 200: JsonWebKeySet } } },
      async (_request, reply) => {
        reply.header('cache-control', 'public, max-age=60');
        return { keys: keys.jsonWebKeys() };
      },
    );
  }
}

/** Where a request comes from; the name of the program is cut to what a list can show. */
export function clientOf(request: FastifyRequest): ClientInfo {
  const agent = (request.headers['user-agent'] ?? '').replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 200);
  return { address: request.ip, agent };
}
