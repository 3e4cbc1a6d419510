import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import { METHODS } from '../../protocol/http/gateway.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { RateLimitedError } from './rate-limits.ts';

const FRAMEWORK: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'TFS_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'TFS_UNSUPPORTED_MEDIA',
};

/** Where the framework's own words do not say what to do. */
const MESSAGES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'the Content-Type of the request is none, such as application/json',
  FST_ERR_CTP_BODY_TOO_LARGE: `the body is larger than this address takes: a message has at most ${LIMITS.payloadBytes / 1024 / 1024} MiB`,
};

/** Largest head of a request. */
export const HEADER_BYTES: number = 16 * 1024;

const RETRY_AFTER_SECONDS = 1;

/** Addresses that take the same methods whoever asks. */
const PATHS: readonly (readonly [RegExp, readonly string[]])[] = [
  // As far as the service takes them.
  [/^\/v1\/invoke\/[^/]+\/[^/]+$/, [...METHODS, 'HEAD', 'OPTIONS']],
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
    const methods = methodsOf(path);
    if (methods === undefined || methods.includes(request.method)) throw unknownAddress(request.method, path);
    throw refuseMethod(request, reply, methods);
  });
}

function methodsOf(path: string): readonly string[] | undefined {
  return PATHS.find(([pattern]) => pattern.test(path))?.[1];
}

/** Slashes are easily one too many: then the address that was meant is named. */
function unknownAddress(method: string, path: string): TriggerFsError {
  const meant = path.replace(/\/{2,}/g, '/').replace(/\/$/, '');
  const advice =
    meant !== path && methodsOf(meant) !== undefined ? `; ${meant.slice(0, 200)} is` : '; /openapi.json describes what there is';
  return new TriggerFsError('TFS_NOT_FOUND', `there is no ${method} ${path.slice(0, 200)}${advice}`);
}

/** The error of a method that an address does not take; tells which it does. */
export function refuseMethod(request: FastifyRequest, reply: FastifyReply, allowed: readonly string[]): TriggerFsError {
  reply.header('allow', allowed.join(', '));
  return new TriggerFsError('TFS_METHOD', `${request.method} is not for this address, but ${allowed.join(', ')}`);
}

/** What Node.js tells of a request that it could not read. */
type ConnectionError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer };

/** First byte of who speaks TLS. */
const TLS_HANDSHAKE = 0x16;

function connectionError({ code, rawPacket }: ConnectionError): TriggerFsError {
  if (code === 'HPE_HEADER_OVERFLOW') return new TriggerFsError('TFS_TOO_LARGE', `the headers have more than ${HEADER_BYTES / 1024} KiB`);
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new TriggerFsError('TFS_BAD_REQUEST', 'the request did not arrive in time');
  if (code === 'HPE_INVALID_EOF_STATE') return new TriggerFsError('TFS_BAD_REQUEST', 'the connection ended in the middle of the request');
  if (rawPacket?.[0] === TLS_HANDSHAKE)
    return new TriggerFsError('TFS_BAD_REQUEST', 'this port speaks HTTP without TLS: ask for http://, or put a proxy with TLS in front');
  return new TriggerFsError('TFS_BAD_REQUEST', 'this is not a complete HTTP request');
}

/** Answers what is not HTTP at all, or came too slowly. */
export function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(connectionError(error));
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
  return new TriggerFsError(code, MESSAGES[thrown.code ?? ''] ?? thrown.message, { cause: thrown });
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
