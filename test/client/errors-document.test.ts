import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ERRORS } from '../../protocol/errors.ts';
import { joinOutcome } from '../../protocol/outcome.ts';
import { VERDICT_NAMES, type VerdictName } from '../../protocol/verdicts.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { readTable } from '../support/markdown.ts';

const DOCUMENT = readFileSync(join(packageRoot(), 'docs', 'errors.md'), 'utf8');

test('docs/errors.md lists the registry', () => {
  const documented = readTable(DOCUMENT, ['code', 'number', 'HTTP', 'exit code', 'retry', 'what to do']);
  const registry = Object.entries(ERRORS).map(([code, definition]) => {
    const { number, status, exitCode, retryable, hint } = definition;
    return [`\`${code}\``, String(number), String(status), String(exitCode), retryable ? 'yes' : 'no', hint];
  });
  assert.deepEqual(documented, registry);
});

test('docs/errors.md tells the exit code and error of every verdict', () => {
  const documented = readTable(DOCUMENT, ['verdict', 'exit code', 'error, when the broker names no other']);
  assert.deepEqual(
    documented.map(([verdict]) => verdict),
    VERDICT_NAMES.map((name) => `\`${name}\``),
  );
  for (const [verdict, exitCode, error] of documented as [string, string, string][]) {
    const name = verdict.replaceAll('`', '') as VerdictName;
    const run = { worker: 'demo01', verdict: name, exitCode: 0, signal: 0, attempt: 0, durationUs: 0, error: null, detail: '' };
    const outcome = joinOutcome(null, name === 'failed' ? { ...run, exitCode: 7 } : run);
    assert.equal(String(outcome.exitCode), name === 'failed' ? '7' : exitCode, name);
    assert.equal(outcome.error === null ? '' : `\`${outcome.error}\``, error, name);
  }
});
