import { registerHooks } from 'node:module';

/** Loaded by the worker before a plugin: `import ... from 'triggerfs/sdk'` then works wherever the plugin stands. */
const sdk = new URL(import.meta.url.endsWith('.ts') ? './index.ts' : './index.js', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) => (specifier === 'triggerfs/sdk' ? { url: sdk, shortCircuit: true } : next(specifier, context)),
});
