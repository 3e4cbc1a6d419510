import { ROLES, type RoleName } from './registry.ts';
import type { Role, RoleAnswer, RoleRequest } from './role.ts';

/** A process of the benchmark: the first message starts the role, the others are commands for it. Ends with its parent. */
export function main(name: string): void {
  let role: Role | null = null;
  const handle = async (command: unknown): Promise<unknown> => {
    if (role !== null) return role.call(command);
    role = await (await ROLES[name as RoleName]())(command as never);
    return null;
  };
  process.on('message', (message) => {
    const { id, command } = message as RoleRequest;
    handle(command).then(
      (value) => send({ id, value }),
      (error: unknown) => send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  const stop = (): void => {
    const end = (): void => process.exit(0);
    // A peer that does not answer its good-bye must not keep the benchmark.
    setTimeout(end, 2_000).unref();
    (role?.stop?.() ?? Promise.resolve()).then(end, end);
  };
  process.on('disconnect', stop);
  process.on('SIGTERM', stop);
}

function send(answer: RoleAnswer): void {
  process.send?.(answer);
}
