import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHouse } from '../../scripts/layers/check.ts';
import { importsOf } from '../../scripts/layers/imports.ts';

function check(files: Record<string, string>): string[] {
  return checkHouse(new Map(Object.entries(files)));
}

test('finds every form of import and tells types apart', () => {
  const source = [
    "import { a } from './a.ts';",
    "import type { B } from './b.ts';",
    "import './c.ts';",
    'import {\n  type D,\n  e,\n} from "./d.ts";',
    "export * from './e.ts';",
    "export type { F } from './f.ts';",
    "const { g } = await import('./g.ts');",
    "// import { h } from './h.ts';",
    "export type Word = 'no import';",
  ].join('\n');
  assert.deepEqual(
    importsOf(source).map(({ specifier, typeOnly }) => [specifier, typeOnly]),
    [
      ['./a.ts', false],
      ['./b.ts', true],
      ['./c.ts', false],
      ['./d.ts', false],
      ['./e.ts', false],
      ['./f.ts', true],
      ['./g.ts', false],
    ],
  );
});

test('a layer may import only what its row names', () => {
  assert.deepEqual(check({ 'client/a.ts': "import { x } from '../runtime/x.ts';\n" }), []);
  assert.match(
    check({ 'client/a.ts': "\nimport { x } from '../edge-broker/x.ts';\n" }).join(),
    /^client\/a\.ts:2: client may not import edge-broker\/x\.ts: /,
  );
  assert.match(
    check({ 'worker-agent/a.ts': "import { x } from '../plugins/echo/x.ts';\n" }).join(),
    /worker-agent may not import plugins\/echo/,
  );
  assert.deepEqual(check({ 'worker-agent/a.ts': "import { x } from '../plugins/sdk/x.ts';\n" }), []);
  assert.match(check({ 'plugins/echo/a.ts': "import { x } from '../file/x.ts';\n" }).join(), /plugins may not import plugins\/file/);
  assert.match(check({ 'elsewhere/a.ts': '\n' }).join(), /has no row/);
  assert.deepEqual(check({ 'test/a.ts': "import { x } from '../edge-broker/x.ts';\n" }), []);
});

test('packages are used only where their row allows it', () => {
  assert.match(check({ 'client/a.ts': "import zmq from 'zeromq';\n" }).join(), /client may not use zeromq/);
  assert.match(check({ 'runtime/a.ts': "import x from 'left-pad';\n" }).join(), /left-pad has no row/);
  assert.match(check({ 'protocol/a.ts': "import fs from 'node:fs';\n" }).join(), /it is pure/);
  assert.deepEqual(check({ 'control-plane/a.ts': "import jwt from '@fastify/jwt';\n" }), []);
});

test('import cycles are found, type cycles are harmless', () => {
  const ring = {
    'fs/a.ts': "import { b } from './b.ts';\n",
    'fs/b.ts': "import { c } from './c.ts';\n",
    'fs/c.ts': "import { a } from './a.ts';\n",
  };
  assert.match(check(ring).join(), /import cycle fs\/a\.ts → fs\/b\.ts → fs\/c\.ts → fs\/a\.ts/);
  assert.deepEqual(check({ ...ring, 'fs/c.ts': "import type { a } from './a.ts';\n" }), []);
});

test('files stay short, outside of tests', () => {
  assert.match(check({ 'fs/a.ts': '\n'.repeat(401) }).join(), /401 lines, at most 400/);
  assert.deepEqual(check({ 'test/fs/a.ts': '\n'.repeat(401), 'fs/b.ts': '\n'.repeat(400) }), []);
  assert.match(check({ 'fs/bin.ts': '\n'.repeat(41) }).join(), /41 lines, at most 40/);
});

test('the environment has one reader, and some texts are never committed', () => {
  const read = `const home = ${['process', 'env'].join('.')}.HOME;\n`;
  assert.match(check({ 'fs/a.ts': read }).join(), /process\.env is read only in/);
  assert.deepEqual(check({ 'runtime/environment.ts': read }), []);
  assert.match(check({ 'fs/a.ts': `// ${['TO', 'DO'].join('')}: later\n` }).join(), /finish it/);
  assert.match(check({ 'docs/a.md': `see ${['', 'home', 'someone', 'x'].join('/')}\n` }).join(), /a path of one machine/);
  assert.match(check({ 'fs/utils.ts': '\n' }).join(), /says nothing/);
});
