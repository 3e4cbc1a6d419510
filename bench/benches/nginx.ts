import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { notInstalled } from '../peers/peer.ts';
import { type BenchReport, type Comparison, compare } from '../report/comparison.ts';
import { interleave } from '../report/rounds.ts';
import { freePort, untilListening } from '../stage/ports.ts';
import type { Stage } from '../stage/stage.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';
import { checkLines } from './delivered.ts';
import { cannotMount, mountNoop, mountTriggers } from './mount.ts';

const run = promisify(execFile);
const CONNECTIONS = 16;
const DELIVERY_MS = 120_000;
const PLAIN = 'plain file';
const NOOP = 'no-op FUSE handler';
const MODES = [
  { name: 'buffered', options: ' buffer=32k flush=1s', limit: 0.9 },
  { name: 'unbuffered', options: '', limit: 0.5 },
] as const;

/** nginx under wrk, its access log being a trigger file or a plain file. */
export const nginx: Bench = {
  name: 'nginx',
  doc: 'nginx logging to a trigger file against a plain file',
  async run(context: BenchContext): Promise<BenchReport> {
    const { stage } = context;
    const reason = missing(stage);
    if (reason !== null) return { comparisons: [], skipped: [{ what: 'nginx', reason }], notes: [] };
    const names = MODES.map(({ name }) => name);
    const mount = await mountTriggers(context, 'nginx', names);
    const noop = await mountNoop(stage, 'nginx', names);
    const server = await startNginx(stage, { trigger: (name) => mount.trigger(name), noop: (name) => join(noop, name) });
    const comparisons: Comparison[] = [];
    const notes: string[] = [];
    for (const { name, limit } of MODES) {
      let logged = 0;
      const target = mount.target(name);
      const trigger = async (): Promise<number> => {
        const before = await server.requests();
        const perSecond = await wrk(stage, `${server.url}/trigger/${name}`);
        logged += (await server.requests()) - before - 1;
        await until(
          `${logged} lines in ${target}`,
          async () => (await checkLines(target, () => undefined).catch(() => 0)) >= logged,
          DELIVERY_MS,
        );
        return perSecond;
      };
      const measured = await interleave(
        [
          { name: 'trigger', measure: trigger },
          { name: PLAIN, measure: () => wrk(stage, `${server.url}/file/${name}`) },
          { name: NOOP, measure: () => wrk(stage, `${server.url}/noop/${name}`) },
        ],
        stage.settings.rounds,
        (text) => stage.progress(`nginx, ${name}: ${text}`),
      );
      const lines = await verify(target);
      if (lines !== logged) throw new Error(`nginx served ${logged} requests, ${lines} lines arrived in ${target}`);
      const ours = measured.get('trigger') ?? [];
      const what = `nginx access log, ${name}`;
      comparisons.push(
        compare(
          what,
          'per second',
          ours,
          { name: PLAIN, rounds: measured.get(PLAIN) ?? [] },
          { direction: 'at least', limit, of: 'ratio' },
        ),
        compare(what, 'per second', ours, { name: NOOP, rounds: measured.get(NOOP) ?? [] }, null),
      );
      notes.push(`nginx, ${name}: all ${lines} lines arrived once and in order`);
    }
    return { comparisons, skipped: [], notes };
  },
};

function missing(stage: Stage): string | null {
  if (stage.find('nginx') === null) return notInstalled('nginx', 'nginx');
  return stage.find('wrk') === null ? notInstalled('wrk', 'wrk') : cannotMount();
}

/** Where nginx logs to, by mode, besides plain files of its own. */
interface LogPaths {
  trigger(mode: string): string;
  noop(mode: string): string;
}

interface NginxServer {
  readonly url: string;
  /** Requests served so far, this question included; waits until no other is being served. */
  requests(): Promise<number>;
}

async function startNginx(stage: Stage, paths: LogPaths): Promise<NginxServer> {
  const folder = stage.subfolder('nginx');
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration(folder, port, paths));
  const server = stage.start({
    name: 'nginx',
    command: stage.find('nginx') as string,
    args: ['-p', folder, '-c', file, '-e', join(folder, 'error.log')],
  });
  await untilListening(server, port);
  const url = `http://127.0.0.1:${port}`;
  const requests = async (): Promise<number> => {
    let total = 0;
    const alone = async (): Promise<boolean> => {
      const text = await (await fetch(`${url}/status`, { headers: { connection: 'close' } })).text();
      const [, active, served] = /Active connections: (\d+)[\s\S]*?\n \d+ \d+ (\d+)/.exec(text) ?? [];
      total = Number(served);
      return active === '1';
    };
    let asked = 0;
    await until('the end of all requests to nginx', async () => {
      asked += 1;
      return alone();
    });
    return total - (asked - 1);
  };
  return { url, requests };
}

function configuration(folder: string, port: number, paths: LogPaths): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${join(folder, kind)};\n`)
    .join('');
  const locations = MODES.flatMap(({ name, options }) => [
    `    location = /trigger/${name} { access_log ${paths.trigger(name)} bench${options}; return 200 'ok'; }\n`,
    `    location = /noop/${name} { access_log ${paths.noop(name)} bench${options}; return 200 'ok'; }\n`,
    `    location = /file/${name} { access_log ${join(folder, `${name}.log`)} bench${options}; return 200 'ok'; }\n`,
  ]).join('');
  return `daemon off;
worker_processes 1;
${process.getuid?.() === 0 ? `user ${userInfo().username};` : ''}
pid ${join(folder, 'nginx.pid')};
events { worker_connections 1024; }
http {
${temporary}  log_format bench '$connection $connection_requests $remote_addr [$time_iso8601] "$request" $status $body_bytes_sent "$http_user_agent"';
  access_log off;
  server {
    listen 127.0.0.1:${port};
    location = /status { stub_status; }
${locations}  }
}
`;
}

async function wrk(stage: Stage, url: string): Promise<number> {
  const { stdout } = await run(stage.find('wrk') as string, ['-t1', `-c${CONNECTIONS}`, `-d${Math.ceil(stage.settings.seconds)}s`, url]);
  const perSecond = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  if (perSecond === undefined || /Non-2xx|Socket errors/.test(stdout)) throw new Error(`wrk says: ${stdout}`);
  return Number(perSecond);
}

/** Each connection numbers its requests: whatever is missing, doubled or out of order shows. */
async function verify(target: string): Promise<number> {
  const next = new Map<string, number>();
  return checkLines(target, (line, number) => {
    const [connection = '', request] = line.split(' ', 2);
    const expected = next.get(connection) ?? 1;
    if (Number(request) !== expected)
      throw new Error(`line ${number} of ${target}: request ${request} of connection ${connection}, not ${expected}`);
    next.set(connection, expected + 1);
  });
}
