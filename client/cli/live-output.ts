import { JsonScreen } from '../program/json-screen.ts';
import type { Order } from '../program/options.ts';
import { type Screen, TextScreen } from '../program/screen.ts';
import { Sink } from '../program/sink.ts';
import type { Call } from './command.ts';
import { FilterStream } from './screen/filter-stream.ts';

/** Where a command shows what happens while it happens: through the pipes of its line. */
export class LiveOutput {
  /** What is written to. */
  readonly out: Sink;
  readonly #call: Call;
  readonly #filtered: FilterStream | null;

  constructor(call: Call) {
    this.#call = call;
    this.#filtered = filterOf(call);
    this.out = this.#filtered === null ? call.screen.out : new Sink(this.#filtered, () => undefined);
  }

  /** The screen for an invocation: the client's own. */
  screen(order: Order): Screen {
    const { pipeline, screen } = this.#call;
    return pipeline.json ? new JsonScreen(order, this.out) : new TextScreen(order, this.out, screen.err, screen.colour, 'triggerfs-cli');
  }

  /** Shows what the pipes have kept back. */
  async end(): Promise<void> {
    const filtered = this.#filtered;
    if (filtered !== null) await new Promise<void>((done) => filtered.end(done));
  }
}

/** Null where the output goes to the screen as it is. */
function filterOf({ pipeline, screen }: Call): FilterStream | null {
  if (pipeline.filters().length === 0 && pipeline.last === null && !pipeline.count) return null;
  return new FilterStream(pipeline, async (line) => {
    screen.out.write(`${line}\n`);
    await screen.out.ready();
  });
}
