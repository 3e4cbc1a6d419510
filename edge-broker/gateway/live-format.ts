import type { KeptLine } from '../../protocol/http/gateway-kept.ts';
import type { InvocationEvent } from '../../protocol/http/invocation.ts';

/** How the events of a live answer are written. */
export interface LiveFormat {
  readonly contentType: string;
  /** Keeps proxies from closing a quiet connection. */
  readonly ping: string;
  event(event: InvocationEvent | KeptLine): string;
}

const EVENT_STREAM: LiveFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  ping: ': ping\n\n',
  event: (event) => `event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`,
};

const LINES: LiveFormat = {
  contentType: 'application/x-ndjson; charset=utf-8',
  ping: '{"event":"ping"}\n',
  event: (event) => `${JSON.stringify(event)}\n`,
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
