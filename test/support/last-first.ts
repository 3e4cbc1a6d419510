import type { TestContext } from 'node:test';

/** Hooks of a test that run in reverse order: what was made last goes first. node:test itself runs them in order. */
export function lastFirst(t: Pick<TestContext, 'after'>): Pick<TestContext, 'after'> {
  const hooks: (() => unknown)[] = [];
  t.after(() => runAll(hooks.reverse()));
  return { after: (hook) => void hooks.push(hook as () => unknown) };
}

/** Runs each hook, also after one has failed: node:test itself would leave the processes and folders of the others behind. @throws the first error */
export async function runAll(hooks: readonly (() => unknown)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const hook of hooks) {
    try {
      await hook();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
