import type { Outcome, RunVerdict } from '../client/index.ts';
import { formatDuration } from '../protocol/quantity.ts';
import { timestamp } from '../runtime/logging.ts';
import type { Flight } from './flight.ts';
import { OutputLines, printable } from './output-lines.ts';
import type { Responses } from './responses.ts';
import type { Message } from './spool/message.ts';

/** Output of a response that is kept for reading; the rest is printed only. */
const KEPT_BYTES = 1024 * 1024;
const CUT = Buffer.from(`\n[cut after ${KEPT_BYTES} bytes]\n`);

/** Output of one run, as it comes. */
interface Printed {
  readonly out: OutputLines;
  readonly err: OutputLines;
  readonly prefix: string;
}

/** What came back of a message so far. */
class Response {
  readonly runs = new Map<string, Printed>();
  readonly chunks: Buffer[] = [];
  bytes = 0;
  /** Microseconds of the longest run; null before a verdict. */
  durationUs: number | null = null;
}

/**
 * Records responses: lines go to the terminal and the logfile as they come, `[plugin@worker] line`, followed by one line
 * with the verdict; the whole is kept as the last response of the trigger. A response that is ok and says nothing is
 * only kept: a log that goes through a trigger file shall not fill another one.
 */
export class ResponseRecorder {
  readonly #responses: Responses;
  readonly #print: (line: string) => void;
  readonly #open = new Map<Flight, Response>();

  /** `print` takes a line for terminal and logfile. */
  constructor(responses: Responses, print: (line: string) => void) {
    this.#responses = responses;
    this.#print = print;
  }

  /** A piece of output; `data` is only borrowed. */
  output(flight: Flight, data: Buffer, stderr: boolean, worker: string): void {
    const response = this.#responseOf(flight);
    let run = response.runs.get(worker);
    if (run === undefined) {
      run = { out: new OutputLines(), err: new OutputLines(), prefix: `[${flight.trigger.plugin}@${worker}]` };
      response.runs.set(worker, run);
    }
    for (const line of (stderr ? run.err : run.out).push(data)) this.#print(`${run.prefix} ${printable(line)}`);
    keep(response, data);
  }

  /** A run ended. */
  verdict(flight: Flight, verdict: RunVerdict): void {
    if (verdict.verdict === 'ok' && !this.#open.has(flight)) return;
    const response = this.#responseOf(flight);
    response.durationUs = Math.max(response.durationUs ?? 0, verdict.durationUs);
  }

  /** The message is answered. */
  finish(flight: Flight, outcome: Outcome): void {
    const { trigger, message, sentAt } = flight;
    const response = this.#open.get(flight);
    this.#open.delete(flight);
    if (response !== undefined) for (const run of response.runs.values()) this.#endRun(run);
    const { verdict, exitCode, detail, error } = outcome;
    if (response !== undefined || verdict !== 'ok') {
      const ms = (response?.durationUs ?? 0) > 0 ? (response?.durationUs as number) / 1000 : performance.now() - sentAt;
      const reason = detail === '' || verdict === 'ok' ? '' : `: ${printable(detail)}`;
      this.#print(`${timestamp(new Date())} ${trigger.path}: ${verdict} (exit code ${exitCode}, ${formatDuration(ms)})${reason}`);
    }
    const silent = (response?.bytes ?? 0) === 0 && verdict !== 'ok' && verdict !== 'failed';
    const text = silent
      ? Buffer.from(`triggerfs: ${verdict}${detail === '' ? '' : `: ${detail}`}${error === null ? '' : ` (${error})`}\n`)
      : null;
    this.#keep(message, verdict, exitCode, text ?? outputOf(response));
  }

  /** The message is sent again: what came back so far does not count. */
  discard(flight: Flight): void {
    this.#open.delete(flight);
  }

  /** The message went to the dead letters. */
  givenUp(path: string, message: Message, reason: string): void {
    this.#print(`${timestamp(new Date())} ${path}: expired: ${reason}`);
    this.#keep(message, 'expired', 75, Buffer.from(`triggerfs: expired: ${reason} (TFS_EXPIRED)\n`));
  }

  #keep(message: Message, verdict: string, exitCode: number, output: Buffer): void {
    const { invocation } = message;
    this.#responses.record(message.trigger, message.sequence, { invocation, verdict, exitCode, answeredAt: Date.now(), output });
  }

  #responseOf(flight: Flight): Response {
    let response = this.#open.get(flight);
    if (response === undefined) {
      response = new Response();
      this.#open.set(flight, response);
    }
    return response;
  }

  #endRun({ out, err, prefix }: Printed): void {
    for (const rest of [out.end(), err.end()]) if (rest !== null) this.#print(`${prefix} ${printable(rest)}`);
  }
}

const NOTHING = Buffer.alloc(0);

function keep(response: Response, data: Buffer): void {
  const room = KEPT_BYTES - response.bytes;
  response.bytes += data.length;
  if (room > 0) response.chunks.push(Buffer.from(data.subarray(0, room)));
}

function outputOf(response: Response | undefined): Buffer {
  if (response === undefined || response.bytes === 0) return NOTHING;
  return Buffer.concat(response.bytes > KEPT_BYTES ? [...response.chunks, CUT] : response.chunks);
}
