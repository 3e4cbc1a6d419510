import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** Above this a text is compressed: the position in a mirror over hundreds of workers must fit into a header. */
const LONG = 200;
const MARK = 'z';
const MAX_BYTES = 1024 * 1024;

/** A text for a header: compressed when it is long. The text itself must not begin with `z`. */
export function packText(text: string): string {
  return text.length <= LONG ? text : MARK + deflateRawSync(text).toString('base64url');
}

/** What `packText` was given; null when it cannot have made this. At most 1 MiB. */
export function unpackText(packed: string): string | null {
  if (!packed.startsWith(MARK)) return packed;
  try {
    return inflateRawSync(Buffer.from(packed.slice(MARK.length), 'base64url'), { maxOutputLength: MAX_BYTES }).toString('latin1');
  } catch {
    return null;
  }
}
