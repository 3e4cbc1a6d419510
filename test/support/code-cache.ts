import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

let own: string | null = null;

after(() => {
  if (own !== null) rmSync(own, { recursive: true, force: true });
});

/** The variable for programs that get an environment of their own: compiled code is shared by the run, or by this file when it is run alone. */
export function codeCache(): { readonly NODE_COMPILE_CACHE: string } {
  const shared = process.env.NODE_COMPILE_CACHE;
  if (shared !== undefined) return { NODE_COMPILE_CACHE: shared };
  own ??= mkdtempSync(join(tmpdir(), 'triggerfs-test-code-'));
  return { NODE_COMPILE_CACHE: own };
}
