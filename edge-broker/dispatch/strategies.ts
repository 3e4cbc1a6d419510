import { Layout } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { Directory } from '../directory/directory.ts';
import { quotaOf } from '../directory/team.ts';
import { type BrokerVerdict, writeManifest } from './answers.ts';
import type { Invocation } from './invocation.ts';
import type { Placement } from './placement.ts';

/** What follows after a run of an invocation has ended. */
export interface Next {
  /** Workers (by id) whose turn it is now. */
  readonly start: readonly number[];
  /** Workers whose turn never comes. */
  readonly skip: readonly number[];
}

const NOTHING: Next = { start: [], skip: [] };

/** Time limit of a whole invocation: one timeout, or for serial services one for each turn of the window. */
export function limitOf(invocation: Invocation): number {
  const { config } = invocation.service;
  if (config.algorithm !== 'serial') return invocation.timeoutMs;
  const workers = Math.max(1, config.workerIds.length);
  return invocation.timeoutMs * Math.ceil(workers / windowOf(invocation));
}

/** Starts the first runs. `endWithout` ends an invocation that has nobody to run on. */
export function startInvocation(
  invocation: Invocation,
  placement: Placement,
  directory: Directory,
  endWithout: (given: BrokerVerdict) => void,
): void {
  const { config } = invocation.service;
  if (config.algorithm === 'roundrobin' || config.algorithm === 'direct') {
    placement.start(invocation, [preferred(invocation)]);
    return;
  }
  const ids = config.workerIds;
  if (ids.length === 0) {
    endWithout({ verdict: Verdict.noWorker, error: 'TFS_NO_WORKER', detail: `no worker is attached to service ${config.name}` });
    return;
  }
  const names = directory.team(config.teamId)?.workers;
  const expected = ids.map((id) => ({ id, identity: names?.get(id)?.identity ?? String(id) }));
  writeManifest(invocation, expected, 0, invocation.deadline - placement.now);
  invocation.remaining = [...ids];
  const first = invocation.remaining.splice(0, config.algorithm === 'mirror' ? ids.length : windowOf(invocation));
  placement.start(invocation, first);
}

/** Called when a run has ended and was removed from `openRuns`: which workers of a serial service follow. */
export function takeNext(invocation: Invocation): Next {
  if (invocation.remaining.length === 0) return NOTHING;
  const { config } = invocation.service;
  const allowed = quotaOf(config.maxErrors, config.workerIds.length);
  const stop = invocation.cancelled || (allowed > 0 && invocation.errors >= allowed);
  if (stop) return { start: [], skip: invocation.remaining.splice(0) };
  const free = windowOf(invocation) - invocation.openRuns.length;
  return { start: invocation.remaining.splice(0, Math.max(0, free)), skip: [] };
}

function windowOf(invocation: Invocation): number {
  const { config } = invocation.service;
  return Math.max(1, quotaOf(config.window, config.workerIds.length));
}

/** A resumed request goes to the worker that had it: that one knows whether it has run. */
function preferred(invocation: Invocation): number {
  if (invocation.service.config.algorithm === 'direct') return invocation.service.config.workerIds[0] ?? 0;
  if (!invocation.resumed) return 0;
  const worker = invocation.request.readUInt32LE(invocation.bodyStart + Layout.request.resumeWorker);
  return invocation.service.config.workerIds.includes(worker) ? worker : 0;
}
