import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { until } from '../../support/wait.ts';
import { fakeLogin } from '../support.ts';
import { cliCommand, cliEnvironment } from './program.ts';

/** A login counts as ended this many seconds before it ends. */
const MARGIN_S = 30;

test('a login that ends while the console runs is renewed, or made anew where that is refused', async (t) => {
  let logins = 0;
  let renewals = 0;
  /** The only token that is good now. */
  let token = '';
  let lifeSeconds = 600;
  let expiresAt = 0;
  let mayRenew = true;
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify(body));
    };
    const session = (): void => {
      token = `token-${logins}-${renewals}`;
      expiresAt = Math.floor(Date.now() / 1000) + lifeSeconds;
      answer(200, { ...fakeLogin([]), apiToken: token, expiresAt });
    };
    const refuse = (): void => answer(401, { status: 401, code: 'TFS_UNAUTHENTICATED', detail: 'the token has ended' });
    request.resume().on('end', () => {
      requests.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`.trim());
      if (request.url === '/v1/login') {
        logins += 1;
        session();
      } else if (request.url === '/v1/renew') {
        renewals += 1;
        if (mayRenew) session();
        else refuse();
      } else if (request.headers.authorization === `Bearer ${token}`) answer(200, { items: [] });
      else refuse();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-cli-expired-'));
  const config = join(folder, 'triggerfs.toml');
  const { port } = server.address() as AddressInfo;
  writeFileSync(config, `[main]\napi = "http://127.0.0.1:${port}"\nteam = "demo"\nidentity = "demo"\nsecret = "wonderland"\n`);
  const [program = '', ...args] = cliCommand(config, []);
  const child = spawn(program, args, { env: cliEnvironment() });
  t.after(async () => {
    child.kill('SIGKILL');
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const show = async (times: number): Promise<void> => {
    child.stdin.write('show workers | count\n');
    await until(() => stdout === 'Count: 0 lines\n'.repeat(times), { what: `${times} answers` });
  };

  await show(1);
  assert.deepEqual([logins, renewals], [1, 0]);
  // The server has forgotten the session: another login, and the command is carried out with it.
  token = 'nothing';
  // The next login is soon at its end.
  lifeSeconds = MARGIN_S + 1;
  await show(2);
  assert.deepEqual([logins, renewals], [2, 0]);
  lifeSeconds = 600;
  const renewed = renewals;
  mayRenew = false;
  // On a busy machine the console may find that out by itself, before the next command.
  await until(() => logins === 3 || Date.now() / 1000 > expiresAt - MARGIN_S, { what: 'the login is at its end' });
  await show(3);
  assert.ok(renewals > renewed, requests.join('\n'));
  assert.equal(logins, 3);
  child.stdin.end();
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
});
