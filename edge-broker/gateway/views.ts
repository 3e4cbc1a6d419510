import { ERRORS } from '../../protocol/errors.ts';
import type { DoneEvent, ManifestEvent, RunAnswer } from '../../protocol/http/invocation.ts';
import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';

type RunView = Omit<RunAnswer, 'stdout' | 'stdoutBase64' | 'stderr' | 'stderrBase64'>;

/** A run's end as JSON. */
export function runVerdictView({ worker, verdict, exitCode, signal, attempt, durationUs, error, detail }: RunVerdict): RunView {
  return { worker, verdict, exitCode, signal, attempt, durationMs: durationUs / 1000, error, detail };
}

/** A manifest as JSON. */
export function manifestView(manifest: Manifest, service: string, plugin: string): ManifestEvent {
  const { invocation, algorithm, attempt, expected, workers } = manifest;
  return { event: 'manifest', invocation, service, plugin, algorithm, attempt, expected, workers: [...workers] };
}

/** An invocation's end as JSON. */
export function doneView({ verdict, exitCode, runs, error, detail }: Outcome, durationMs: number): DoneEvent {
  const hint = error === null ? null : ERRORS[error].hint;
  return { event: 'done', verdict, exitCode, runs, durationMs: Math.round(durationMs * 1000) / 1000, error, detail, hint };
}
