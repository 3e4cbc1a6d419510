/** The roles that processes of the benchmarks play; each module's `start` takes the role's parameters. */
export const ROLES = {
  'triggerfs-requester': async () => (await import('./triggerfs-requester.ts')).start,
  'nats-requester': async () => (await import('./nats-requester.ts')).start,
  'nats-responder': async () => (await import('./nats-responder.ts')).start,
  'relay-requester': async () => (await import('../relay/requester.ts')).start,
  'relay-broker': async () => (await import('../relay/broker.ts')).start,
  'relay-worker': async () => (await import('../relay/worker.ts')).start,
  'gearman-requester': async () => (await import('../gearman/requester.ts')).start,
  'gearman-worker': async () => (await import('../gearman/worker.ts')).start,
  'spawn-loop': async () => (await import('./spawn-loop.ts')).start,
  'webhook-requester': async () => (await import('./webhook-requester.ts')).start,
  'file-writer': async () => (await import('./file-writer.ts')).start,
  'noop-mount': async () => (await import('./noop-mount.ts')).start,
  'history-writer': async () => (await import('./history-writer.ts')).start,
  'chatter-requester': async () => (await import('./chatter-requester.ts')).start,
  'idle-workers': async () => (await import('./idle-workers.ts')).start,
} as const;

/** Name of a role. */
export type RoleName = keyof typeof ROLES;

/** What each role is started with. */
export type RoleParameters = { readonly [N in RoleName]: Parameters<Awaited<ReturnType<(typeof ROLES)[N]>>>[0] };
