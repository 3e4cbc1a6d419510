import type { Tree } from '../protocol/http/tree.ts';
import type { Log } from '../runtime/logging.ts';
import type { FileTree } from './tree.ts';
import type { ApiCaller } from './tree-editor.ts';

/** A burst of changes is read once. */
const DEBOUNCE_MS = 30;
/** The tree is read this often even if no broker says that it changed. */
const POLL_MS = 15_000;
/** After a failure. */
const RETRY_MS = 1_000;
const STATE_KEY = 'tree';

/** Where the last known tree outlasts a restart. */
export interface TreeStore {
  readState(key: string): string | null;
  writeState(key: string, value: string): void;
}

/** Options of a tree synchronization. */
export interface TreeSyncOptions {
  readonly api: ApiCaller;
  readonly tree: FileTree;
  readonly store: TreeStore;
  readonly log: Log;
  /** The tree was replaced. */
  readonly onReplaced: () => void;
}

/** Keeps the tree in memory like the control-plane's. While that is down, the last known tree stays. */
export class TreeSync {
  readonly #options: TreeSyncOptions;
  #timer: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #edits = 0;
  #again = false;
  #failing = false;
  #saved = '';
  #stopped = false;

  constructor(options: TreeSyncOptions) {
    this.#options = options;
  }

  /** Shows the tree that was known last, if any; then keeps reading. */
  start(): void {
    this.#recall();
    this.#schedule(POLL_MS);
  }

  /** Reads the tree now. @throws TriggerFsError */
  async load(): Promise<void> {
    await this.#read();
  }

  /** Something changed: the tree is read in a moment. */
  changed(): void {
    if (this.#reading !== null) this.#again = true;
    else this.#schedule(DEBOUNCE_MS);
  }

  /** The tree was edited here: an answer that is on its way may be older than that. */
  edited(): void {
    this.#edits += 1;
    this.changed();
  }

  /** Stops reading. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#refresh(), delayMs);
    this.#timer.unref();
  }

  async #refresh(): Promise<void> {
    let delay = POLL_MS;
    try {
      this.#reading ??= this.#read().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
      if (this.#failing) this.#options.log.info('the file tree is up to date again');
      this.#failing = false;
    } catch (err) {
      if (!this.#failing) this.#options.log.warn({ err }, 'cannot read the file tree; the last known one stays');
      this.#failing = true;
      delay = RETRY_MS;
    }
    if (this.#again) delay = DEBOUNCE_MS;
    this.#again = false;
    this.#schedule(delay);
  }

  async #read(): Promise<void> {
    const edits = this.#edits;
    const tree = await this.#options.api.call<Tree>('GET', '/v1/tree');
    if (this.#stopped) return;
    if (edits !== this.#edits) {
      this.#again = true;
      return;
    }
    this.#show(tree);
    this.#save(tree);
  }

  #show(tree: Tree): void {
    const left = this.#options.tree.replace(tree);
    for (const path of left) this.#options.log.debug(`${JSON.stringify(path)} cannot be shown as a file`);
    this.#options.onReplaced();
  }

  #save(tree: Tree): void {
    const text = JSON.stringify(tree);
    if (text === this.#saved) return;
    try {
      this.#options.store.writeState(STATE_KEY, text);
      this.#saved = text;
    } catch (err) {
      this.#options.log.warn({ err }, 'cannot keep the file tree for the next start');
    }
  }

  #recall(): void {
    const text = this.#options.store.readState(STATE_KEY);
    if (text === null) return;
    this.#saved = text;
    this.#show(JSON.parse(text) as Tree);
  }
}
