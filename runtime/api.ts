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
  readonly signal?: AbortSignal;
  /** Default 10000. */
  readonly timeoutMs?: number;
}

/**
 * Calls the control-plane and returns the JSON answer (undefined for 204).
 * @throws TriggerFsError with the code of the problem document; TFS_UNAVAILABLE when nobody answers
 */
export async function callApi<T>(api: string, request: ApiRequest): Promise<T> {
  const url = new URL(request.path, api);
  const headers: Record<string, string> = { 'user-agent': request.agent ?? `triggerfs/${VERSION}` };
  if (request.token !== undefined) headers.authorization = `Bearer ${request.token}`;
  if (request.body !== undefined) headers['content-type'] = 'application/json';
  const limit = AbortSignal.timeout(request.timeoutMs ?? REQUEST_TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(url, {
      method: request.method,
      headers,
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal: request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]),
    });
  } catch (cause) {
    request.signal?.throwIfAborted();
    throw new TriggerFsError('TFS_UNAVAILABLE', `the control-plane at ${url.origin} does not answer: ${reasonOf(cause)}`, { cause });
  }
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  if (!response.ok) throw problemError(response, text, url);
  return parse<T>(text, url);
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
