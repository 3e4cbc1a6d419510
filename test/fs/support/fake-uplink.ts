import type { Call, CallHandlers, Outcome, RouteRule, SendOptions } from '../../../client/index.ts';
import type { Uplink, UplinkRoute } from '../../../fs/uplink.ts';
import type { ErrorCode } from '../../../protocol/errors.ts';
import type { VerdictName } from '../../../protocol/verdicts.ts';

/** A request as the fake uplink got it. */
export class FakeSend {
  readonly rule: RouteRule;
  readonly text: string;
  readonly options: SendOptions;
  readonly #handlers: CallHandlers;

  constructor(rule: RouteRule, payload: Buffer, options: SendOptions, handlers: CallHandlers) {
    this.rule = rule;
    this.text = String(payload);
    this.options = options;
    this.#handlers = handlers;
  }

  get #call(): Call {
    return {
      invocation: this.options.invocation as Buffer,
      tag: this.options.tag,
      sends: 1,
      held: false,
      grant: () => undefined,
      cancel: () => undefined,
      resend: () => undefined,
    };
  }

  output(data: string | Buffer, stderr = false, worker = 'demo01'): void {
    this.#handlers.output?.(this.#call, Buffer.from(data), stderr, worker, 0);
  }

  ok(output = ''): void {
    if (output !== '') this.output(output);
    this.done('ok', null);
  }

  done(verdict: VerdictName, error: ErrorCode | null, outcome: Partial<Outcome> = {}): void {
    const runs = outcome.runs ?? (error === null ? 1 : 0);
    const exitCode = outcome.exitCode ?? 0;
    this.#handlers.verdict?.(this.#call, {
      worker: 'demo01',
      verdict,
      exitCode,
      signal: 0,
      attempt: 0,
      durationUs: 12_300,
      error,
      detail: outcome.detail ?? '',
    });
    this.#handlers.done(this.#call, { verdict, exitCode, runs, error, detail: outcome.detail ?? '' });
  }
}

/** A connection to brokers whose answers a test gives. */
export class FakeUplink implements Uplink {
  connected = true;
  epoch = 1;
  readonly sends: FakeSend[] = [];
  readonly rules: RouteRule[] = [];
  closed = 0;
  onSend: (send: FakeSend) => void = () => undefined;

  route(rule: RouteRule): UplinkRoute {
    this.rules.push(rule);
    return {
      send: (payload, handlers, options) => {
        const send = new FakeSend(rule, payload, options, handlers);
        this.sends.push(send);
        this.onSend(send);
      },
      close: () => {
        this.closed += 1;
      },
    };
  }

  get texts(): string[] {
    return this.sends.map(({ text }) => text);
  }
}
