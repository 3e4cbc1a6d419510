import type { WorkerWithToken } from '../../../protocol/http/worker.ts';
import type { Invocation } from '../../invocation.ts';
import { orderOf, parseCommandLine } from '../../program/options.ts';
import type { Screen } from '../../program/screen.ts';
import type { Sink } from '../../program/sink.ts';
import { workerToken } from '../changes/results.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import type { OptionSyntax } from '../grammar/command-tree.ts';
import { LiveOutput } from '../live-output.ts';
import { type Answer, text } from '../screen/answer.ts';

const OPTIONS: Readonly<Record<string, OptionSyntax>> = {
  command: { value: 'text', doc: 'The message; empty when absent' },
  args: { value: 'key=value', doc: 'Argument of the plugin; may be repeated' },
  timeout: { value: 'duration', doc: 'Time limit, such as 10s' },
};
/** Output that may be on its way. */
const CREDIT_BYTES = 256 * 1024;

/** Commands that make something happen now. */
export const REQUEST: readonly Command[] = [
  {
    pattern: 'request service <service> plugin <plugin>',
    doc: 'Run a plugin on the workers of a service and watch its output',
    options: OPTIONS,
    modes: EVERYWHERE,
    run: request,
  },
  {
    pattern: 'request worker <worker> token',
    doc: 'Give a worker another token; the old one ends',
    modes: EVERYWHERE,
    run: rotate,
  },
];

/** A request that failed, told on the screen already: scripts stop there, with its exit code. */
export class RequestFailed extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`the request ended with exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

async function request(call: Call): Promise<null> {
  const { values, options, connection } = call;
  const order = orderOf(flagsOf(values, options), connection.config);
  const begun = performance.now();
  const client = await connection.client();
  call.signal.throwIfAborted();
  const payload = options.command?.at(-1) ?? '';
  const invocation = client.invoke({ ...order, payload, creditBytes: CREDIT_BYTES, signal: call.signal });
  const live = new LiveOutput(call);
  const exitCode = await show(invocation, live.screen(order), begun, live.out);
  await live.end();
  if (exitCode !== 0) throw new RequestFailed(exitCode);
  return null;
}

/** The client's own command line, so that both programs check the same things with the same words. */
function flagsOf(values: Call['values'], options: Call['options']): ReturnType<typeof parseCommandLine> {
  const argv = ['-service', values.service ?? '', '-plugin', values.plugin ?? ''];
  for (const pair of options.args ?? []) argv.push('-args', pair);
  const timeout = options.timeout?.at(-1);
  if (timeout !== undefined) argv.push('-timeout', timeout);
  return parseCommandLine(argv);
}

async function show(invocation: Invocation, screen: Screen, begun: number, out: Sink): Promise<number> {
  let exitCode = 0;
  for await (const event of invocation.events()) {
    if (out.broken) return exitCode;
    if (event.kind === 'manifest') screen.manifest(event.manifest);
    else if (event.kind === 'output') screen.output(event.chunk);
    else if (event.kind === 'verdict') screen.verdict(event.verdict);
    else {
      exitCode = Math.min(event.outcome.exitCode, 255);
      screen.done(event.outcome, performance.now() - begun);
    }
    await out.ready();
  }
  await out.flushed();
  return exitCode;
}

async function rotate(call: Call): Promise<Answer> {
  const { worker = '' } = call.values;
  const path = `/v1/workers/${encodeURIComponent(worker)}/token`;
  const made = await call.connection.call<WorkerWithToken>({ method: 'POST', path });
  return text(workerToken(await call.connection.team(), made.identity, made.token), made);
}
