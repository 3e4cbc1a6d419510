/**
 * Ends a program in one sentence when its Node.js is too old. Bins call it before they import anything else,
 * so this file must itself run on old versions.
 */
export function requireNode(program: string): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return;
  process.stderr.write(
    `${program} needs Node.js 22.18 or newer, this is ${process.versions.node}; in a checkout, npx and npm scripts bring their own.\n`,
  );
  process.exit(78);
}
