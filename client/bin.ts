#!/usr/bin/env node
import { requireNode } from '../runtime/require-node.ts';

requireNode('triggerfs-client');
const { enableCompileCache } = await import('./program/compile-cache.ts');
enableCompileCache();
const { main } = await import('./program/main.ts');
await main(process.argv.slice(2));
