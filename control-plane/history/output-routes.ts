import { HistoryOutputQuery, InvocationParams } from '../../protocol/http/history.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { EVENT_LINES, EVENT_STREAM, eventFormatOf } from './event-format.ts';
import { header, OutputAnswers } from './output-answers.ts';

/** The longest that a timer of Node can wait: answers of followers have no end of their own. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

/** `GET /v1/history/:id/output`: the bytes, or events, which may go on live. */
export function registerOutput(app: App, services: Services): void {
  const answers = new OutputAnswers(services);
  app.addHook('preClose', () => answers.close());
  app.get(
    '/v1/history/:id/output',
    {
      config: { policy: 'read' },
      exposeHeadRoute: false,
      handlerTimeout: NO_TIMEOUT_MS,
      schema: {
        summary: 'Output as it was written: bytes (with ranges), or events as text/event-stream and application/x-ndjson',
        params: InvocationParams,
        querystring: HistoryOutputQuery,
      },
    },
    async (request, reply) => {
      const { worker, stream, follow, after } = request.query;
      const principal = principalOf(request);
      const asked = { principal, id: request.params.id.toLowerCase(), worker: worker?.toLowerCase() ?? null, stream };
      const format = eventFormatOf(request.headers.accept) ?? (follow === '1' ? EVENT_LINES : null);
      if (format === null) return answers.download(request, reply, asked);
      const live = format === EVENT_STREAM || follow === '1';
      return answers.events(request, reply, asked, { format, live, after: after ?? header(request, 'last-event-id') ?? '' });
    },
  );
}
