/** Bytes of a body, `end` excluded. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The part of `total` bytes that a Range header asks for (RFC 9110, 14.1.2): `bytes=100-199`, `bytes=100-`, `bytes=-100`.
 * `none`: it can be ignored (absent, another unit, malformed, several parts); `unsatisfiable`: nothing of it is there.
 */
export function readRange(header: string | undefined, total: number): ByteRange | 'none' | 'unsatisfiable' {
  const match = /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i.exec(header ?? '');
  if (match === null) return 'none';
  const [first = '', last = ''] = match.slice(1);
  if (first === '') return last === '' ? 'none' : suffix(Number(last), total);
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'none';
  if (start >= total) return 'unsatisfiable';
  return { start, end: last === '' ? total : Math.min(Number(last) + 1, total) };
}

function suffix(bytes: number, total: number): ByteRange | 'unsatisfiable' {
  if (bytes === 0 || total === 0) return 'unsatisfiable';
  return { start: Math.max(0, total - bytes), end: total };
}
