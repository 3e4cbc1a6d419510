import { Tree } from '../../protocol/http/tree.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { readTree } from './repository.ts';

/** The file tree as mounts show it. */
export function registerTree(app: App, { database }: Services): void {
  app.get(
    '/v1/tree',
    { config: { policy: 'read' }, schema: { summary: 'Directories and triggers in one answer', response: { 200: Tree } } },
    async (request) => {
      const principal = principalOf(request);
      return database.inTeam(principal.teamId, (tx) => readTree(tx, principal));
    },
  );
}
