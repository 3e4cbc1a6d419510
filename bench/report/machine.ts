import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';

/** Where figures were measured: absolute ones mean little elsewhere. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Load average of the last minute when the run ended. */
  readonly load: number;
}

/** Describes this machine. */
export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    load: Math.round((loadavg()[0] as number) * 100) / 100,
  };
}
