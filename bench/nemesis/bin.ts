#!/usr/bin/env node
import { requireNode } from '../../runtime/require-node.ts';

requireNode('nemesis');
const { main } = await import('./main.ts');
await main(process.argv.slice(2));
