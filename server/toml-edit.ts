/**
 * Sets one key in the text of a TOML file and leaves everything else as people wrote it, comments included.
 * A section or key that is missing is added. Only plain `key = value` lines are understood, as this server writes them.
 */
export function setKey(text: string, section: string, key: string, value: string | number): string {
  const line = `${key} = ${JSON.stringify(value)}`;
  const lines = text.split('\n');
  const header = lines.findIndex((candidate) => candidate.trim().startsWith(`[${section}]`));
  if (header < 0) return `${text.trimEnd()}\n\n[${section}]\n${line}\n`.trimStart();
  let end = header + 1;
  for (; end < lines.length && !(lines[end] as string).trimStart().startsWith('['); end += 1) {
    const match = /^(\s*)([A-Za-z0-9_-]+)\s*=/.exec(lines[end] as string);
    if (match?.[2] !== key) continue;
    lines[end] = `${match[1]}${line}${commentOf(lines[end] as string)}`;
    return lines.join('\n');
  }
  lines.splice(header + 1, 0, line);
  return lines.join('\n');
}

/** The comment behind a value, with the blanks before it; values of ours hold no `#`. */
function commentOf(line: string): string {
  return /\s+#.*$/.exec(line)?.[0] ?? '';
}
