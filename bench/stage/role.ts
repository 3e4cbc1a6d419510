import { join } from 'node:path';
import type { LoadCommand, LoadResult } from '../roles/closed-loop.ts';
import type { RoleName, RoleParameters } from '../roles/registry.ts';
import type { RoleAnswer, RoleRequest } from '../roles/role.ts';
import type { Program } from './program.ts';
import type { Stage } from './stage.ts';

const BIN = join(import.meta.dirname, '..', 'roles', 'bin.ts');

/** A process of the benchmark itself: a load generator, a peer's other end, a baseline. */
export class RoleProcess {
  readonly program: Program;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #requests = 0;

  private constructor(program: Program) {
    this.program = program;
    program.channel.on('message', (answer) => this.#answer(answer as RoleAnswer));
    void program.ended.then(() => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error(`${program.name} has ended${program.logTail()}`));
    });
  }

  /** Starts a role and resolves when it is ready for commands. */
  static async start<N extends RoleName>(
    stage: Stage,
    role: N,
    parameters: RoleParameters[N],
    name: string = role,
    env: Readonly<Record<string, string>> = {},
  ): Promise<RoleProcess> {
    const process = new RoleProcess(stage.startNode(name, [BIN, role], env));
    await process.call(parameters);
    return process;
  }

  /** Runs a load and returns what was counted. @throws Error of the role */
  async load(command: LoadCommand): Promise<LoadResult> {
    return (await this.call(command)) as LoadResult;
  }

  /** Sends a command and resolves with the role's answer. */
  call(command: unknown): Promise<unknown> {
    const waiting = Promise.withResolvers<unknown>();
    this.#requests += 1;
    const request: RoleRequest = { id: this.#requests, command };
    this.#waiting.set(request.id, waiting);
    this.program.channel.send(request, (error) => {
      if (error !== null) waiting.reject(error);
    });
    return waiting.promise.finally(() => this.#waiting.delete(request.id));
  }

  #answer(answer: RoleAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    if ('error' in answer) waiting?.reject(new Error(answer.error));
    else waiting?.resolve(answer.value);
  }
}
