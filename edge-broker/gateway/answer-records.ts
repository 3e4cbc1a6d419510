import { algorithmName } from '../../protocol/algorithms.ts';
import { errorCode } from '../../protocol/errors.ts';
import type { Manifest, RunVerdict } from '../../protocol/outcome.ts';
import { Layout } from '../../protocol/records.ts';
import { verdictName } from '../../protocol/verdicts.ts';

/** Identity of a worker by its number on the wire; empty text for 0. */
export type WorkerNames = (worker: number) => string;

/** Reads the body of a MANIFEST. Workers that are not chosen yet are left out. */
export function readManifest(invocation: string, names: WorkerNames, batch: Buffer, start: number, end: number): Manifest {
  const { manifest } = Layout;
  const workers: string[] = [];
  for (let at = start + manifest.workers; at + 4 <= end; at += 4) {
    const worker = batch.readUInt32LE(at);
    if (worker !== 0) workers.push(names(worker));
  }
  return {
    invocation,
    algorithm: algorithmName(batch[start + manifest.algorithm] as number),
    attempt: batch[start + manifest.attempt] as number,
    expected: batch.readUInt16LE(start + manifest.expected),
    workers,
  };
}

/** Reads the body of a RESULT. */
export function readVerdict(names: WorkerNames, batch: Buffer, start: number, end: number): RunVerdict {
  const { result } = Layout;
  return {
    worker: names(batch.readUInt32LE(start + result.worker)),
    verdict: verdictName(batch[start + result.verdict] as number),
    exitCode: batch.readInt16LE(start + result.exitCode),
    signal: batch[start + result.signal] as number,
    attempt: batch[start + result.attempt] as number,
    durationUs: batch.readUInt32LE(start + result.durationUs),
    error: errorCode(batch.readUInt16LE(start + result.error)),
    detail: batch.toString('utf8', start + result.detail, end),
  };
}
