import { STATUS_CODES } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import { fromDatabase } from './database-errors.ts';

/** Errors of Fastify and its plugins, by their code. */
const FRAMEWORK: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'TFS_UNSUPPORTED_MEDIA',
  FST_ERR_CTP_BODY_TOO_LARGE: 'TFS_TOO_LARGE',
  FST_ERR_CTP_INVALID_JSON_BODY: 'TFS_BAD_JSON',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'TFS_BAD_JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'TFS_BAD_REQUEST',
};

const RETRY_AFTER_SECONDS = 1;

/** Answers every error as a problem document with a code of the registry. */
export function registerProblems(app: FastifyInstance): void {
  app.setErrorHandler<FastifyError>((thrown, request, reply) => sendProblem(reply, request, translate(thrown)));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, request, new TriggerFsError('TFS_NOT_FOUND', `there is no ${request.method} ${request.url.split('?')[0]}`)),
  );
}

function translate(thrown: FastifyError): TriggerFsError {
  if (thrown instanceof TriggerFsError) return thrown;
  const database = fromDatabase(thrown);
  if (database !== null) return database;
  const wrap = (code: ErrorCode, message: string): TriggerFsError => new TriggerFsError(code, message, { cause: thrown });
  const known = FRAMEWORK[thrown.code];
  if (known !== undefined) return wrap(known, thrown.message);
  if (thrown instanceof SyntaxError) return wrap('TFS_BAD_JSON', thrown.message);
  if (thrown.statusCode === 429) return wrap('TFS_RATE_LIMITED', thrown.message);
  if (thrown.validation !== undefined || (thrown.statusCode !== undefined && thrown.statusCode >= 400 && thrown.statusCode < 500)) {
    return wrap('TFS_BAD_REQUEST', thrown.message);
  }
  return wrap('TFS_INTERNAL', thrown.message);
}

function sendProblem(reply: FastifyReply, request: FastifyRequest, error: TriggerFsError): FastifyReply {
  const { status, hint, retryable } = error.definition;
  const hidden = error.code === 'TFS_INTERNAL';
  if (hidden) request.log.error({ err: error.cause ?? error, request: request.id }, 'request failed');
  const problem: Problem = {
    code: error.code,
    title: STATUS_CODES[status] ?? error.code,
    status,
    // What broke inside is for the log; callers get the number of the request to look it up.
    detail: hidden ? `internal error in request ${request.id}` : error.message,
    hint,
    retryable,
  };
  if (status === 503 && !reply.hasHeader('retry-after')) reply.header('retry-after', RETRY_AFTER_SECONDS);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(status).type('application/problem+json').send(problem);
}
