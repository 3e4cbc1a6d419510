import type { InvocationAnswer } from '../../protocol/http/invocation.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import type { QueueResult } from '../../protocol/http/queue.ts';
import { answerAad } from '../../runtime/acceptance/new-item.ts';
import { seal } from '../../runtime/sealing/index.ts';
import type { HookStage } from './hook-stage.ts';

const RUN = {
  worker: 'worker1',
  verdict: 'ok',
  exitCode: 0,
  signal: 0,
  attempt: 0,
  durationMs: 1,
  error: null,
  detail: '',
  stdout: 'done\n',
  stderr: '',
};
/** A result without failure. */
export const OK: QueueResult = {
  verdict: 'ok',
  exitCode: 0,
  error: null,
  detail: '',
  output: 'done\n',
  stderr: '',
  durationMs: 2,
  runs: [RUN],
};

/** An answer of the gateway. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Partial<InvocationAnswer> & Partial<Problem> & Record<string, unknown>;
}

/** A stage whose queue is worked off by the test. */
export class KeptStage {
  readonly hooks: HookStage;

  constructor(hooks: HookStage) {
    this.hooks = hooks;
  }

  /** A request to a service. */
  async post(headers: Record<string, string>, body: object = {}, service = 'alpha/svc'): Promise<Reply> {
    const { stage } = this.hooks;
    return reply(
      await stage.post({ url: stage.url(service), headers, body: JSON.stringify({ plugin: 'echo', payload: 'hello', ...body }) }),
    );
  }

  /** What the owner gets at an address of the gateway. */
  async get(path: string, headers: Record<string, string> = {}): Promise<Reply> {
    const { stage } = this.hooks;
    return reply(await fetch(stage.broker.gatewayUrl + path, { headers: { authorization: `Bearer ${stage.token}`, ...headers } }));
  }

  /** Ends an item as the queue does; `invocation`: the one of the history, when it is not the item's own. */
  async settle(id: string, result: QueueResult = OK, state = 'done', invocation = id): Promise<void> {
    const { stage, keys } = this.hooks;
    const { teamId } = stage.owner;
    const sealed = seal(await keys.current(teamId), answerAad(teamId, id), Buffer.from(JSON.stringify(result)));
    await stage.world.sql.query(
      `update triggerfs.queue_items set state = $2, attempt = 1, invocation_id = $8, ended_at = now(), verdict = $3, exit_code = $4, error = $5, detail = $6, answer = $7 where id = $1`,
      [id, state, result.verdict, result.exitCode, result.error, result.detail, sealed, invocation],
    );
  }

  /** All items. */
  async items(): Promise<{ id: string; [column: string]: unknown }[]> {
    return (await this.hooks.stage.world.sql.query('select * from triggerfs.queue_items order by id')).rows;
  }
}

/** Reads an answer. */
export async function reply(response: Response): Promise<Reply> {
  const text = await response.text();
  const isJson = (response.headers.get('content-type') ?? '').includes('json');
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : { text } };
}
