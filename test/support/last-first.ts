import type { TestContext } from 'node:test';

/** Hooks of a test that run in reverse order: what was made last goes first. node:test itself runs them in order. */
export function lastFirst(t: Pick<TestContext, 'after'>): Pick<TestContext, 'after'> {
  const hooks: (() => unknown)[] = [];
  t.after(async () => {
    for (const hook of hooks.reverse()) await hook();
  });
  return { after: (hook) => void hooks.push(hook as () => unknown) };
}
