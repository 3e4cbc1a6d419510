import type { HistoryEvent } from '../../protocol/http/history.ts';

/** How events of the history are written. `cursor`: where a reader goes on after the event; null keeps the one before. */
export interface EventFormat {
  readonly contentType: string;
  /** Keeps proxies from closing a quiet connection. */
  readonly ping: string;
  event(event: HistoryEvent, cursor: string | null): string;
}

/** Server-sent events; the cursor is the `id`, which browsers send back as Last-Event-ID. */
export const EVENT_STREAM: EventFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  ping: ': ping\n\n',
  event: (event, cursor) => `${cursor === null ? '' : `id: ${cursor}\n`}event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`,
};

/** One JSON object a line. */
export const EVENT_LINES: EventFormat = {
  contentType: 'application/x-ndjson; charset=utf-8',
  ping: '{"event":"ping"}\n',
  event: (event, cursor) => `${JSON.stringify(cursor === null ? event : { ...event, cursor })}\n`,
};

const FORMATS: Readonly<Record<string, EventFormat | null>> = {
  'text/event-stream': EVENT_STREAM,
  'application/x-ndjson': EVENT_LINES,
  'application/ndjson': EVENT_LINES,
  'application/octet-stream': null,
};

/** The format that an Accept header names first, of those we have; null for the bytes themselves, which is also the default. */
export function eventFormatOf(accept: string | undefined): EventFormat | null {
  for (const part of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    if (parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))) continue;
    if (Object.hasOwn(FORMATS, type)) return FORMATS[type] ?? null;
  }
  return null;
}
