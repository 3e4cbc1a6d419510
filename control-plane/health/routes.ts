import { Type } from 'typebox';
import type { App, Services } from '../context.ts';

/** Whether this control-plane can work, and its measurements. */
export function registerHealth(app: App, { database, metrics }: Services): void {
  app.get(
    '/healthz',
    {
      config: { policy: 'public', rateLimit: false },
      schema: { summary: '200 while the database answers, else 503', response: { 200: Type.Object({ status: Type.Literal('ok') }) } },
    },
    async () => {
      await database.rows('select 1');
      return { status: 'ok' as const };
    },
  );

  if (metrics === null) return;
  app.get('/metrics', { config: { policy: 'public' }, schema: { summary: 'Measurements for Prometheus' } }, async (_request, reply) => {
    reply.type(metrics.contentType);
    return metrics.text();
  });
}
