import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import { RateLimitedError } from './rate-limits.ts';

const FRAMEWORK: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'TFS_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'TFS_UNSUPPORTED_MEDIA',
};

const RETRY_AFTER_SECONDS = 1;

/** Addresses that take the same methods whoever asks. */
const PATHS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^\/v1\/hooks\/[^/]+\/[^/]+$/, ['POST']],
  [/^\/v1\/invocations\/[^/]+(\/output)?$/, ['GET', 'HEAD', 'OPTIONS']],
  [/^\/(healthz|metrics|openapi\.json)$/, ['GET', 'HEAD']],
];

/** The problem document of an error (RFC 9457). */
export function problemOf(error: TriggerFsError): Problem {
  const { status, hint, retryable } = error.definition;
  return { code: error.code, title: STATUS_CODES[status] ?? error.code, status, detail: error.message, hint, retryable };
}

/** Headers that go with an error's status. */
export function setProblemHeaders(reply: FastifyReply, status: number): void {
  if (status === 503 || status === 429) reply.header('retry-after', RETRY_AFTER_SECONDS);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  reply.code(status).type('application/problem+json');
}

/** Answers every error as a problem document with a code of the registry. */
export function registerProblems(app: FastifyInstance): void {
  app.setErrorHandler<FastifyError>((thrown, request, reply) => sendProblem(request, reply, translate(thrown)));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] as string;
    const methods = PATHS.find(([pattern]) => pattern.test(path))?.[1];
    if (methods === undefined || methods.includes(request.method))
      throw new TriggerFsError('TFS_NOT_FOUND', `there is no ${request.method} ${path.slice(0, 200)}`);
    throw refuseMethod(request, reply, methods);
  });
}

/** The error of a method that an address does not take; tells which it does. */
export function refuseMethod(request: FastifyRequest, reply: FastifyReply, allowed: readonly string[]): TriggerFsError {
  reply.header('allow', allowed.join(', '));
  return new TriggerFsError('TFS_METHOD', `${request.method} is not for this address, but ${allowed.join(', ')}`);
}

/** Answers what is not HTTP at all, or came too slowly. */
export function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(new TriggerFsError('TFS_BAD_REQUEST', 'this is not a complete HTTP request'));
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    'content-type: application/problem+json',
    `content-length: ${body.length}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** The error of the registry for whatever was thrown. */
export function translate(thrown: Error & { readonly statusCode?: number | undefined; readonly code?: string }): TriggerFsError {
  if (thrown instanceof TriggerFsError) return thrown;
  const status = thrown.statusCode ?? 500;
  const code = FRAMEWORK[thrown.code ?? ''] ?? (status >= 400 && status < 500 ? 'TFS_BAD_REQUEST' : 'TFS_INTERNAL');
  return new TriggerFsError(code, thrown.message, { cause: thrown });
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, error: TriggerFsError): FastifyReply {
  const hidden = error.code === 'TFS_INTERNAL';
  if (hidden) request.log.error({ err: error.cause ?? error, request: request.id }, 'request failed');
  const problem = problemOf(error);
  setProblemHeaders(reply, problem.status);
  // No token would help.
  if (error.code === 'TFS_BAD_SIGNATURE') reply.removeHeader('www-authenticate');
  if (error instanceof RateLimitedError) reply.header('retry-after', error.retryAfter);
  // A connection that closes while its peer still sends loses the answer: the rest of the body is taken and thrown away.
  if (error.code === 'TFS_TOO_LARGE') {
    reply.removeHeader('connection');
    request.raw.resume();
  }
  // What broke inside is for the log; callers get the number of the request to look it up.
  return reply.send(hidden ? { ...problem, detail: `internal error in request ${request.id}` } : problem);
}
