import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program } from './program.ts';

/** A TCP port on 127.0.0.1 that is free now, for programs that cannot choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Waits until a program accepts connections on its port. @throws Error when it ends or takes longer than 15 s */
export async function untilListening(program: Program, port: number): Promise<void> {
  for (const end = performance.now() + 15_000; ; await sleep(20)) {
    if (await accepts(port)) return;
    if (!program.running) throw new Error(`${program.name} has ended${program.logTail()}`);
    if (performance.now() > end) throw new Error(`${program.name} does not listen on port ${port}${program.logTail()}`);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (result: boolean) => (): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });
}
