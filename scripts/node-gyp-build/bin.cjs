#!/usr/bin/env node
'use strict';

const { find } = require('./index.cjs');

try {
  find(process.cwd());
} catch (error) {
  // No mount on this platform, but everything else works.
  process.stderr.write(`${error.message}: trigger files cannot be mounted here\n`);
}
