import { BinaryArray, ElementType } from './binary-array.ts';

/** A `bytea[]` parameter: as text each byte would be written as two characters and escaped. */
export function byteaArray(items: readonly (Buffer | null)[]): Buffer {
  const array = new BinaryArray(
    ElementType.bytea,
    items.reduce((sum, item) => sum + 4 + (item?.length ?? 0), 0),
  );
  for (const item of items) {
    if (item === null) array.null();
    else array.bytea(item);
  }
  return array.finish();
}
