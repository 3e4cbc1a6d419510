import { readFileSync } from 'node:fs';

/** A line of the kernel's mount table. */
export interface MountEntry {
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
}

/** What is mounted, in the order of mounting; empty where the kernel tells nothing (macOS). */
export function readMountTable(): readonly MountEntry[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return [];
  }
  return parseMountTable(text);
}

/** Parses /proc/self/mountinfo (see proc(5)). */
export function parseMountTable(text: string): readonly MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [head, tail] = line.split(' - ');
    const mountpoint = head?.split(' ')[4];
    const [type, source] = tail?.split(' ') ?? [];
    if (mountpoint === undefined || type === undefined || source === undefined) continue;
    entries.push({ mountpoint: decode(mountpoint), type, source: decode(source) });
  }
  return entries;
}

/** Spaces, tabs, newlines and backslashes are written as three octal digits. */
function decode(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
