/** Type number of bytea. */
const BYTEA = 17;
const HEAD_BYTES = 20;

/**
 * A `bytea[]` parameter in PostgreSQL's binary form, which node-postgres passes on as it is: as text each byte would be
 * written as two characters and escaped.
 */
export function byteaArray(items: readonly (Buffer | null)[]): Buffer {
  const size = items.reduce((sum, item) => sum + 4 + (item?.length ?? 0), items.length === 0 ? 12 : HEAD_BYTES);
  const array = Buffer.allocUnsafe(size);
  array.writeInt32BE(items.length === 0 ? 0 : 1, 0);
  array.writeInt32BE(items.includes(null) ? 1 : 0, 4);
  array.writeInt32BE(BYTEA, 8);
  if (items.length === 0) return array;
  array.writeInt32BE(items.length, 12);
  array.writeInt32BE(1, 16);
  let at = HEAD_BYTES;
  for (const item of items) {
    array.writeInt32BE(item?.length ?? -1, at);
    at += 4;
    if (item !== null) at += item.copy(array, at);
  }
  return array;
}
