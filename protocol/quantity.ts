const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 1024, MIB: 1024 ** 2, GIB: 1024 ** 3 };

/** Parses `500ms`, `10s`, `1.5m`, `2h`, `7d` (or a bare number of seconds) into whole milliseconds; null when it is no positive duration. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)?$/.exec(text.trim());
  if (match === null) return null;
  const ms = Math.round(Number(match[1]) * (DURATION_UNITS[match[2] ?? 's'] as number));
  return ms > 0 && Number.isSafeInteger(ms) ? ms : null;
}

/** Parses `10MB`, `1GiB` or a bare number of bytes; null when it is no size. */
export function parseSize(text: string): number | null {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)\s*([KMG]?i?B)?$/i.exec(text.trim());
  if (match === null) return null;
  const unit = SIZE_UNITS[(match[2] ?? 'B').toUpperCase()];
  return unit === undefined ? null : Math.round(Number(match[1]) * unit);
}

/** Formats a duration of nanoseconds precision as the documented screen does: `907.914622ms`, `1.5s`, `12.3µs`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds >= 60_000) {
    const minutes = Math.floor(milliseconds / 60_000);
    return `${minutes}m${trim((milliseconds - minutes * 60_000) / 1000, 3)}s`;
  }
  if (milliseconds >= 1000) return `${trim(milliseconds / 1000, 3)}s`;
  return `${trim(milliseconds, 3)}ms`;
}

function trim(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
