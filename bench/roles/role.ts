import { ClosedLoop, type LoadCommand, type Requester } from './closed-loop.ts';

/** A role that has started: answers commands until its process is stopped. */
export interface Role {
  call(command: unknown): Promise<unknown>;
  stop?(): Promise<void>;
}

/** A command for a role's process; answered under the same number. */
export interface RoleRequest {
  readonly id: number;
  readonly command: unknown;
}

/** What a role's process answers. */
export type RoleAnswer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: string };

/** A role whose commands are closed loops of requests. */
export function loadRole(requester: Requester, stop?: () => Promise<void>): Role {
  const call = (command: unknown): Promise<unknown> => new ClosedLoop(requester, command as LoadCommand).run();
  return stop === undefined ? { call } : { call, stop };
}

/** A role that only serves others; its commands return `address`. */
export function servingRole(address: string, stop?: () => Promise<void>): Role {
  const call = async (): Promise<string> => address;
  return stop === undefined ? { call } : { call, stop };
}
