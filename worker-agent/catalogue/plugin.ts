import type { Manifest } from '../../plugins/sdk/manifest.ts';

/** A plugin that was found and checked. */
export interface Plugin {
  readonly name: string;
  readonly manifest: Manifest;
  /** Absolute path of the program, or its name in the PATH. */
  readonly program: string;
  readonly arguments: readonly string[];
  /** Changes whenever plugin.json or the program changes. */
  readonly fingerprint: string;
}
