import { Agent, request } from 'node:http';
import type { Requester } from './closed-loop.ts';
import { loadRole, type Role } from './role.ts';

/** Calls a hook over HTTP with connections that are kept open. */
export async function start({ url }: { readonly url: string }): Promise<Role> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1024 });
  const requester: Requester = {
    request: (exchange) => {
      const call = request(url, { method: 'POST', agent }, (response) => {
        response.resume();
        response.on('end', () => exchange.done(response.statusCode === 200 ? null : `HTTP ${response.statusCode}`));
      });
      call.on('error', (error) => exchange.done(error.message));
      call.end();
    },
  };
  return loadRole(requester, async () => agent.destroy());
}
