import { randomInt } from 'node:crypto';
import { hashToken } from '../../runtime/tokens.ts';

/** Without characters that are easily taken for one another. */
const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
const GROUP = 4;
const LENGTH = 8;

/** A new code such as `7K2M-Q9XD`: 40 random bits, of which five may be tried. */
export function createCode(): string {
  const characters = Array.from({ length: LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)] as string).join('');
  return `${characters.slice(0, GROUP)}-${characters.slice(GROUP)}`;
}

/** SHA-256 of a code as people type it: case, blanks and dashes do not matter. */
export function hashCode(code: string): Buffer {
  return hashToken(code.replaceAll(/[\s-]/g, '').toUpperCase());
}
