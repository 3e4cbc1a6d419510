/** Sends a signal to a process group; does nothing when no process of it is left. Returns whether there was one. */
export function signalGroup(leader: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-leader, signal);
    return true;
  } catch {
    return false;
  }
}
