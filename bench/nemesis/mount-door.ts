import { open } from 'node:fs/promises';

/**
 * Writes lines to a trigger file. A line is accepted when write(2) has taken all of it. After an error nobody knows, and there is no
 * key that would make the second try the same request: it is another line.
 */
export class MountDoor {
  /** Lines that may have been accepted. */
  readonly tried = new Set<string>();
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Writes one line; returns it. @throws Error without a mount, and when it was killed meanwhile */
  async write(key: string): Promise<string> {
    const line = `m${this.tried.size}-${key}`;
    // Not made when it is missing: then nothing is mounted.
    const file = await open(this.#path, 'r+');
    try {
      this.tried.add(line);
      const { bytesWritten } = await file.write(`${line}\n`);
      if (bytesWritten !== line.length + 1) throw new Error(`${bytesWritten} bytes were taken`);
    } finally {
      await file.close().catch(() => undefined);
    }
    return line;
  }
}
