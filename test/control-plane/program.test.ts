import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { childEnvironment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { createDatabase } from '../support/postgres.ts';

const BIN = join(packageRoot(), 'control-plane', 'bin.ts');

interface Program {
  readonly lines: AsyncIterator<string>;
  stop(signal: NodeJS.Signals): Promise<number | null>;
  readonly errors: () => string;
}

function start(t: TestContext, databaseUrl: string | undefined, options: readonly string[]): Program {
  const child = spawn(process.execPath, [BIN, ...options], { env: childEnvironment({ DATABASE_URL: databaseUrl ?? '' }), cwd: '/' });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exited = once(child, 'close') as Promise<[number | null]>;
  t.after(() => child.kill('SIGKILL'));
  return {
    lines: createInterface(child.stdout)[Symbol.asyncIterator](),
    errors: () => errors,
    stop: async (signal) => {
      child.kill(signal);
      return (await exited)[0];
    },
  };
}

test('the program prints where it is ready and stops on SIGTERM', async (t) => {
  const databaseUrl = await createDatabase(t);
  const program = start(t, databaseUrl, ['-json', '--port', '0']);
  const ready = JSON.parse(String((await program.lines.next()).value)) as { event: string; url: string };
  assert.equal(ready.event, 'ready');
  assert.equal((await fetch(new URL('/healthz', ready.url))).status, 200);
  assert.equal(await program.stop('SIGTERM'), 0, program.errors());
  assert.ok(!program.errors().includes(new URL(databaseUrl).password), 'the password is not logged');
});

test('the program says in words why it does not start', async (t) => {
  for (const [databaseUrl, options, code, message] of [
    [undefined, [], 64, /no database: set DATABASE_URL/],
    ['postgresql://127.0.0.1:1/none', ['-wait', '0'], 69, /cannot connect to the database "none" at 127\.0\.0\.1:1: /],
    ['postgresql://127.0.0.1:1/none', ['-wait', 'x'], 64, /-wait takes a duration/],
    ['postgresql://127.0.0.1:1/none', ['-port', 'x'], 64, /-port takes a number/],
    ['postgresql://127.0.0.1:1/none', ['-unknown'], 64, /unknown option -unknown/],
  ] as const) {
    const program = start(t, databaseUrl, options);
    while (!(await program.lines.next()).done);
    assert.equal(await program.stop('SIGCONT'), code, program.errors());
    assert.match(program.errors(), message);
  }
});
