/**
 * The header of a worker's section in `triggerfs.toml`, for messages: `[workers.TEAM.IDENTITY]`.
 * Names with a dot are in quotes, because TOML reads a bare dot as the beginning of a deeper section.
 */
export function workerSection(team: string, identity: string): string {
  return `[workers.${key(team)}.${key(identity)}]`;
}

function key(name: string): string {
  return name.includes('.') ? `"${name}"` : name;
}
