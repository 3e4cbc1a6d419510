import { createHmac } from 'node:crypto';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { TriggerFsError } from '../../protocol/errors.ts';
import { VERSION } from '../../runtime/version.ts';
import type { CallbackAddress } from './callback-address.ts';

const TIMEOUT_MS = 10_000;
/** More than this of an answer is not read. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** `t=SECONDS,v1=HEX`: HMAC-SHA-256 of `SECONDS.BODY` with the team's secret. */
export function signCallback(secret: Buffer, seconds: number, body: Buffer): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')}`;
}

/**
 * Posts a result to an address that was checked. Redirects are not followed.
 * @throws TriggerFsError TFS_UNAVAILABLE when it is not answered with 2xx within 10 s
 */
export async function postCallback(to: CallbackAddress, id: string, body: Buffer, secret: Buffer): Promise<void> {
  const { url, address, family } = to;
  const lookup: LookupFunction = (_host, { all }, done) => (all === true ? done(null, [{ address, family }]) : done(null, address, family));
  const options: RequestOptions = {
    method: 'POST',
    agent: false,
    lookup,
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: {
      'content-type': 'application/json',
      'content-length': body.length,
      'user-agent': `triggerfs/${VERSION}`,
      'x-triggerfs-delivery': id,
      'x-triggerfs-signature': signCallback(secret, Math.floor(Date.now() / 1000), body),
    },
  };
  let status: number;
  try {
    status = await send(url, options, body);
  } catch (cause) {
    const { name, message } = cause as Error;
    const reason = name === 'AbortError' || name === 'TimeoutError' ? `no answer within ${TIMEOUT_MS} ms` : message;
    throw new TriggerFsError('TFS_UNAVAILABLE', `the callback to ${url.host} failed: ${reason}`, { cause });
  }
  if (status < 200 || status > 299)
    throw new TriggerFsError('TFS_UNAVAILABLE', `the callback to ${url.host} was answered with HTTP ${status}`);
}

function send(url: URL, options: RequestOptions, body: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const make = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = make(url, options, (response) => {
      drain(response).then(() => resolve(response.statusCode ?? 0), reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Reads a little of an answer, so that polite servers finish, and cuts off the rest. */
function drain(response: IncomingMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) response.destroy();
    });
    response.on('close', resolve);
    response.on('error', (error) => (bytes > MAX_ANSWER_BYTES ? resolve() : reject(error)));
  });
}
