import { harmless } from '../../program/terminal-text.ts';

/** An object as lines of property and value, aligned. What others wrote cannot move the cursor. */
export function recordLines(found: Readonly<Record<string, unknown>>): string[] {
  const width = Math.max(...Object.keys(found).map((key) => key.length));
  return Object.entries(found).map(([key, value]) => `${key.padEnd(width)}  ${harmless(shown(value))}`.trimEnd());
}

function shown(value: unknown): string {
  if (value === null) return '';
  if (Array.isArray(value)) return value.map(shown).join(', ');
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value).replaceAll(/[\r\n]+/g, ' ');
}
