import type { KeptLine } from '../../protocol/http/gateway-kept.ts';
import type { InvocationEvent } from '../../protocol/http/invocation.ts';

/** How the events of a live answer are written. */
export interface LiveFormat {
  readonly contentType: string;
  /** Keeps proxies from closing a quiet connection. */
  readonly ping: string;
  /** `id`: where a reader goes on after the event; null keeps the one before. */
  event(event: InvocationEvent | KeptLine, id: string | null): string;
}

/** Server-sent events, whose id browsers send back as Last-Event-ID. */
export const EVENT_STREAM: LiveFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  ping: ': ping\n\n',
  event: (event, id) => `${id === null ? '' : `id: ${id}\n`}event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`,
};

const LINES: LiveFormat = {
  contentType: 'application/x-ndjson; charset=utf-8',
  ping: '{"event":"ping"}\n',
  event: (event, id) => `${JSON.stringify(id === null ? event : { ...event, cursor: id })}\n`,
};

const FORMATS: Readonly<Record<string, LiveFormat | null>> = {
  'text/event-stream': EVENT_STREAM,
  'application/x-ndjson': LINES,
  'application/ndjson': LINES,
  'application/json': null,
  'application/problem+json': null,
};

/** The format that an Accept header names first, of those we have; null for one JSON answer, which is also the default. */
export function liveFormatOf(accept: string | undefined): LiveFormat | null {
  for (const part of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = part
      .toLowerCase()
      .split(';')
      .map((text) => text.trim());
    if (parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))) continue;
    if (Object.hasOwn(FORMATS, type)) return FORMATS[type] ?? null;
  }
  return null;
}

/** Whether an Accept header asks for JSON by name. */
export function namesJson(accept: string | undefined): boolean {
  return /(^|,)\s*application\/(problem\+)?json\s*(;|,|$)/i.test(accept ?? '');
}

/** The id of the last event that a reader has got; empty for none. */
export function lastEventId(headers: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  const id = headers['last-event-id'];
  return typeof id === 'string' ? id : '';
}
