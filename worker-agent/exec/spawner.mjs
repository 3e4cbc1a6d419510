/**
 * A small process that starts the processes of exec plugins for a worker. Forking copies the page tables of the process
 * that forks, and a worker's are large; from here a start costs half, and the worker's event loop does not wait for it.
 * It is no TypeScript because stripping types would double its memory, which is what it is made to avoid.
 *
 * Commands on standard input and reports on standard output, one JSON array a line:
 *   ["plan", plan, {program, args, cwd, env, uid?, gid?}]    ["unplan", plan]
 *   ["spawn", id, plan, {variables}, stdin, stdout, stderr]  the last three are paths
 *   ["signal", id, "SIGTERM"]   to the whole group            ["close", id]   kills what is left of the group
 *   ["started", id, pid]   ["failed", id, code, message]   ["exited", id, code, signal]
 *
 * When standard input ends, the worker is gone: all groups end, after the grace by force, and then this process.
 */
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';

/**
 * @typedef {{ program: string, args: string[], cwd: string, env: Record<string, string>, uid?: number, gid?: number }} Plan
 * @typedef {[name: 'spawn', id: number, plan: number, variables: Record<string, string>, stdin: string, stdout: string, stderr: string]} Spawn
 * @typedef {{ command: Spawn, plan: Plan | undefined }} Waiting
 */

const GRACE_MS = 5_000;
/** Starts in one turn of the event loop: each blocks for a while, and reports must not wait for all. */
const SPAWNS_PER_TURN = 4;

/** @type {Map<number, Plan>} */
const plans = new Map();
/** Leaders of the groups that are not closed. @type {Map<number, number>} */
const leaders = new Map();
/** With the plans as they were when the commands came: an `unplan` right behind must not reach a start. @type {Waiting[]} */
let waiting = [];
let reports = '';
let rest = '';
let scheduled = false;

process.stdin.setEncoding('utf8');
process.stdin.on('data', (/** @type {string} */ text) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) obey(JSON.parse(line));
});
process.stdin.on('end', end);
process.stdin.on('error', end);
process.stdout.on('error', end);

/** @param {[name: string, id: number, ...rest: unknown[]]} command */
function obey(command) {
  const [name, id] = command;
  if (name === 'spawn') enqueue(/** @type {Spawn} */ (command));
  else if (name === 'signal') signalGroup(id, /** @type {NodeJS.Signals} */ (command[2]));
  else if (name === 'close') close(id);
  else if (name === 'plan') plans.set(id, /** @type {Plan} */ (command[2]));
  else if (name === 'unplan') plans.delete(id);
  if (waiting.length > 0) schedule();
}

/** @param {Spawn} command */
function enqueue(command) {
  waiting.push({ command, plan: plans.get(command[2]) });
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  setImmediate(() => {
    scheduled = false;
    for (const next of waiting.splice(0, SPAWNS_PER_TURN)) start(next);
    if (reports !== '') process.stdout.write(reports);
    reports = '';
    if (waiting.length > 0) schedule();
  });
}

/** @param {unknown[]} line */
function report(...line) {
  reports += `${JSON.stringify(line)}\n`;
  schedule();
}

/** @param {Waiting} next */
function start({ command: [, id, planId, variables, ...paths], plan }) {
  /** @type {number[]} */
  const stdio = [];
  try {
    if (plan === undefined) throw new Error(`the plan ${planId} is not known`);
    const { program, args, env, ...options } = plan;
    for (const path of paths) stdio.push(openSync(path, stdio.length === 0 ? constants.O_RDONLY : constants.O_WRONLY));
    const child = spawn(program, args, { ...options, env: { ...env, ...variables }, detached: true, stdio });
    child.on('error', (error) => {
      if (child.pid === undefined) fail(id, error);
    });
    if (child.pid === undefined) return;
    leaders.set(id, child.pid);
    report('started', id, child.pid);
    child.on('exit', (code, signal) => report('exited', id, code, signal));
  } catch (error) {
    fail(id, /** @type {NodeJS.ErrnoException} */ (error));
  } finally {
    for (const fd of stdio) closeSync(fd);
  }
}

/**
 * @param {number} id
 * @param {NodeJS.ErrnoException} error
 */
function fail(id, error) {
  report('failed', id, error.code ?? '', error.message);
}

/**
 * @param {number} id
 * @param {NodeJS.Signals} signal
 */
function signalGroup(id, signal) {
  const leader = leaders.get(id);
  if (leader === undefined) return;
  try {
    process.kill(-leader, signal);
  } catch {
    // No process of the group is left.
  }
}

/** @param {number} id */
function close(id) {
  signalGroup(id, 'SIGKILL');
  leaders.delete(id);
}

function end() {
  waiting = [];
  if (leaders.size === 0) process.exit(0);
  for (const id of leaders.keys()) signalGroup(id, 'SIGTERM');
  setTimeout(() => {
    for (const id of leaders.keys()) signalGroup(id, 'SIGKILL');
    process.exit(0);
  }, GRACE_MS);
}
