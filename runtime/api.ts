import { ERRORS, type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import type { Problem } from '../protocol/http/problem.ts';
import { VERSION } from './version.ts';

const REQUEST_TIMEOUT_MS = 10_000;

/** One call of the control-plane's HTTP API. */
export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query, starting with a slash. */
  readonly path: string;
  readonly body?: unknown;
  /** Bearer token. */
  readonly token?: string;
  /** Program and version, as lists of sessions show them; `triggerfs/VERSION` when absent. */
  readonly agent?: string;
  /** More headers, with names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Default 10000. */
  readonly timeoutMs?: number;
}

/**
 * Calls the control-plane and returns the JSON answer (undefined for 204).
 * @throws TriggerFsError with the code of the problem document; TFS_UNAVAILABLE when nobody answers
 */
export async function callApi<T>(api: string, request: ApiRequest): Promise<T> {
  const limit = AbortSignal.timeout(request.timeoutMs ?? REQUEST_TIMEOUT_MS);
  const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]);
  const url = new URL(request.path, api);
  const response = await send(url, request, signal);
  if (response.status === 204) return undefined as T;
  return parse<T>(await response.text(), url);
}

/**
 * Calls the control-plane and returns the body of the answer as it comes; what cuts it short rejects the reading. `timeoutMs` is for the
 * beginning of the answer alone.
 * @throws TriggerFsError as `callApi`
 */
export async function streamApi(api: string, request: ApiRequest): Promise<AsyncIterable<Uint8Array>> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), request.timeoutMs ?? REQUEST_TIMEOUT_MS);
  const signal = request.signal === undefined ? late.signal : AbortSignal.any([late.signal, request.signal]);
  try {
    const { body } = await send(new URL(request.path, api), request, signal);
    return body ?? empty();
  } finally {
    clearTimeout(timer);
  }
}

async function* empty(): AsyncGenerator<Uint8Array> {}

/** An answer that is no error. @throws TriggerFsError */
async function send(url: URL, request: ApiRequest, signal: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { 'user-agent': request.agent ?? `triggerfs/${VERSION}`, ...request.headers };
  if (request.token !== undefined) headers.authorization = `Bearer ${request.token}`;
  if (request.body !== undefined) headers['content-type'] = 'application/json';
  let response: Response;
  try {
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    response = await fetch(url, { method: request.method, headers, body, signal });
  } catch (cause) {
    request.signal?.throwIfAborted();
    throw new TriggerFsError('TFS_UNAVAILABLE', `the control-plane at ${url.origin} does not answer: ${reasonOf(cause)}`, { cause });
  }
  if (!response.ok) throw problemError(response, await response.text(), url);
  return response;
}

function parse<T>(text: string, url: URL): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new TriggerFsError('TFS_UNAVAILABLE', `${url.origin} answers, but not as a triggerFS control-plane`, { cause });
  }
}

function problemError(response: Response, text: string, url: URL): TriggerFsError {
  try {
    const problem = JSON.parse(text) as Problem;
    if (Object.hasOwn(ERRORS, problem.code)) return new TriggerFsError(problem.code as ErrorCode, problem.detail);
  } catch {
    // Not a problem document: an HTTP error of something between us and the control-plane.
  }
  return new TriggerFsError('TFS_UNAVAILABLE', `${url.origin}${url.pathname} answers HTTP ${response.status}`);
}

function reasonOf(cause: unknown): string {
  const error = cause as { message?: string; cause?: { code?: string; message?: string } };
  return error.cause?.code ?? error.cause?.message ?? error.message ?? 'unknown error';
}
