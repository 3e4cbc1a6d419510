import type { RoleProcess } from '../stage/role.ts';

/** A peer that runs: its load generator, and the processes that do its work (for their CPU time). */
export interface Peer {
  readonly name: string;
  readonly load: RoleProcess;
  readonly pids: readonly { readonly name: string; readonly pid: number }[];
}

/** A peer, or why it cannot be measured here. */
export type PeerOrReason = Peer | { readonly name: string; readonly missing: string };

/** Whether a peer is there. */
export function isPeer(peer: PeerOrReason): peer is Peer {
  return 'load' in peer;
}

/** The reason for a program that is not installed. */
export function notInstalled(program: string, debianPackage: string): string {
  return `${program} is not installed (apt-get install ${debianPackage})`;
}
