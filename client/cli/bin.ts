#!/usr/bin/env node
import { requireNode } from '../../runtime/require-node.ts';

requireNode('triggerfs-cli');
const { enableCompileCache } = await import('../program/compile-cache.ts');
enableCompileCache();
const { main } = await import('./main.ts');
await main(process.argv.slice(2));
