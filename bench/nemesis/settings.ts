import { TriggerFsError } from '../../protocol/errors.ts';
import { parseArguments } from '../../runtime/arguments.ts';

/** Options of the program. */
export const OPTIONS = {
  items: { kind: 'value', value: 'N', doc: 'Invocations to accept; default 100000.' },
  kills: { kind: 'value', value: 'N', doc: 'Processes to kill with SIGKILL; default 200.' },
  pause: { kind: 'value', value: 'MS', doc: 'Milliseconds between two kills, on average; default 4000.' },
  seed: { kind: 'value', value: 'N', doc: 'Which process is killed when; default: the time.' },
  planes: { kind: 'value', value: 'N', doc: 'Control-planes; default 2.' },
  brokers: { kind: 'value', value: 'N', doc: 'Brokers; default 2.' },
  workers: { kind: 'value', value: 'N', doc: 'Workers; default 2.' },
  victims: {
    kind: 'value',
    value: 'KINDS',
    doc: 'What is killed, separated by commas; default control-plane,broker,worker,fs,postgresql.',
  },
  nomount: { kind: 'flag', doc: 'Leave out the mount, where there is no FUSE.' },
  answer: { kind: 'value', value: 'MS', doc: 'How long a run lasts after its effect, in milliseconds; default 30.' },
  drain: { kind: 'value', value: 'S', doc: 'Seconds for what is open after the last kill; default 300.' },
  json: { kind: 'flag', doc: 'Print one JSON object.' },
  help: { kind: 'flag', doc: 'Show this help.' },
} as const;

/** What one run does. */
export interface NemesisSettings {
  readonly items: number;
  readonly kills: number;
  readonly pauseMs: number;
  readonly seed: number;
  readonly planes: number;
  readonly brokers: number;
  readonly workers: number;
  readonly mount: boolean;
  /** Kinds that are killed; null for all. */
  readonly victims: readonly string[] | null;
  /** A run's effect is there so long before its end. */
  readonly answerMs: number;
  readonly drainMs: number;
}

/** Reads the command line. @throws TriggerFsError TFS_USAGE */
export function readSettings(argv: readonly string[]): NemesisSettings & { readonly help: boolean; readonly json: boolean } {
  const { options } = parseArguments(OPTIONS, argv);
  return {
    items: number('items', options.items, 100_000),
    kills: number('kills', options.kills, 200),
    pauseMs: number('pause', options.pause, 4_000),
    seed: number('seed', options.seed, Date.now() % 1_000_000),
    planes: number('planes', options.planes, 2),
    brokers: number('brokers', options.brokers, 2),
    workers: number('workers', options.workers, 2),
    mount: options.nomount !== true,
    victims: options.victims?.split(',') ?? null,
    answerMs: number('answer', options.answer, 30),
    drainMs: number('drain', options.drain, 300) * 1000,
    json: options.json === true,
    help: options.help === true,
  };
}

function number(name: string, text: string | undefined, initial: number): number {
  if (text === undefined) return initial;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new TriggerFsError('TFS_USAGE', `-${name} takes a number, not ${text}`);
}
