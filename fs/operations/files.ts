import { constants } from 'node:fs';
import { FsError } from '../errno.ts';
import { Handles } from '../handles.ts';
import type { Responses } from '../responses.ts';
import type { FileTree, TriggerNode } from '../tree.ts';
import { type Intake, TriggerFile } from '../trigger-file.ts';

/** How long a first read waits for the answer to what was written before. */
const READ_WAIT_MS = 2_000;

/** What Files works with. */
export interface FilesOptions {
  readonly tree: FileTree;
  readonly intake: Intake & { sync(): void; newest(trigger: number): number };
  readonly responses: Responses;
  /** Whether the identity that is logged in may fire triggers (a viewer may not). */
  readonly mayWrite: () => boolean;
  /** Whether answers can be expected: a broker is connected. */
  readonly connected: () => boolean;
}

interface OpenFile {
  readonly trigger: number;
  /** Null when opened for reading only. */
  readonly writer: TriggerFile | null;
  /** What this file reads, fixed at its first read. */
  content: Buffer | null;
}

/** System calls on open trigger files. */
export class Files {
  readonly #tree: FileTree;
  readonly #intake: FilesOptions['intake'];
  readonly #responses: Responses;
  readonly #mayWrite: () => boolean;
  readonly #connected: () => boolean;
  readonly #handles = new Handles<OpenFile>();

  constructor(options: FilesOptions) {
    this.#tree = options.tree;
    this.#intake = options.intake;
    this.#responses = options.responses;
    this.#mayWrite = options.mayWrite;
    this.#connected = options.connected;
  }

  open(path: string, flags: number): number {
    const trigger = this.#trigger(path);
    const writes = (flags & (constants.O_WRONLY | constants.O_RDWR)) !== 0;
    if (writes && !this.#mayWrite()) throw new FsError('EACCES', 'a viewer may not fire triggers');
    return this.#handles.add((handle) => ({
      trigger: trigger.id,
      writer: writes ? new TriggerFile(this.#intake, handle, trigger, () => this.#tree.trigger(trigger.id)) : null,
      content: null,
    }));
  }

  read(handle: number, target: Buffer, offset: number): number | Promise<number> {
    const file = this.#handles.get(handle);
    if (file.content !== null && offset > 0) return copyFrom(file.content, target, offset);
    const awaited = this.#connected() ? this.#intake.newest(file.trigger) : 0;
    if (this.#responses.answered(file.trigger) >= awaited) return this.#readLatest(file, target, offset);
    return this.#responses.waitFor(file.trigger, awaited, READ_WAIT_MS).then(() => this.#readLatest(file, target, offset));
  }

  write(handle: number, data: Buffer): number {
    const { writer } = this.#handles.get(handle);
    if (writer === null) throw new FsError('EBADF', 'the file is open for reading only');
    return writer.write(data);
  }

  flush(handle: number): void {
    this.#handles.get(handle).writer?.flush();
  }

  fsync(handle: number): void {
    if (this.#handles.get(handle).writer !== null) this.#intake.sync();
  }

  release(handle: number): void {
    this.#handles.remove(handle)?.writer?.release();
  }

  /** `> file` truncates; a trigger file is empty already, so nothing happens and nothing fires. */
  truncate(path: string): void {
    this.#trigger(path);
  }

  create(path: string): never {
    throw new FsError('EPERM', `${path}: only triggers can be here; they are made in triggerfs-cli`);
  }

  #readLatest(file: OpenFile, target: Buffer, offset: number): number {
    file.content = this.#responses.latest(file.trigger)?.output ?? Buffer.alloc(0);
    return copyFrom(file.content, target, offset);
  }

  #trigger(path: string): TriggerNode {
    const node = this.#tree.get(path);
    if (node === undefined) throw new FsError('ENOENT', path);
    if (node.kind === 'directory') throw new FsError('EISDIR', path);
    return node;
  }
}

function copyFrom(content: Buffer, target: Buffer, offset: number): number {
  return offset >= content.length ? 0 : content.copy(target, 0, offset);
}
