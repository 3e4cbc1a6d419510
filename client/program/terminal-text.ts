const TAB = '\t';
const FIRST_C1 = 0x80;

/**
 * Makes text of a plugin harmless on a terminal: control characters, and with them all escape sequences, are shown
 * (`^[`, `\x9b`) instead of obeyed. Tabs stay.
 */
export function harmless(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (character) => {
    if (character === TAB) return character;
    const code = character.charCodeAt(0);
    return code < FIRST_C1 ? `^${String.fromCharCode(code ^ 0x40)}` : `\\x${code.toString(16)}`;
  });
}

/** Length of `bytes` without a UTF-8 character that is cut off at its end. */
export function completeLength(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) break;
    if (byte >= 0xc0) return expectedBytes(byte) > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function expectedBytes(lead: number): number {
  if (lead >= 0xf0) return 4;
  return lead >= 0xe0 ? 3 : 2;
}
