#!/usr/bin/env node
/** The program triggerfs-worker. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(`triggerfs-worker needs Node.js 22.18 or newer; this is ${process.versions.node}\n`);
  process.exit(78);
}
const { main } = await import('./program.ts');
await main(process.argv.slice(2));

export {};
