'use strict';

const { existsSync } = require('node:fs');
const { join } = require('node:path');

/** Path of the prebuilt library for this platform in a package's folder, or of one that was compiled there. */
function find(folder) {
  const candidates = [
    join(folder, 'build', 'Release', 'fuse.node'),
    join(folder, 'prebuilds', `${process.platform}-${process.arch}`, 'node.napi.node'),
  ];
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found === undefined) throw new Error(`${folder} has no library for ${process.platform}-${process.arch}`);
  return found;
}

/**
 * What fuse-native asks for when it is loaded. The original package does the same, but at install time it also tries
 * whether the library can be loaded (it needs libfuse, which we bring along at run time) and otherwise compiles,
 * which fails where there is no compiler.
 */
module.exports = (folder) => require(find(folder));
module.exports.find = find;
