import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { ArgumentError, parseArgumentSchema, typeArguments } from '../../plugins/sdk/arguments.ts';
import { defaultManifest, ManifestError, parseManifest } from '../../plugins/sdk/manifest.ts';
import { isPluginName } from '../../protocol/names.ts';

const PLUGINS = join(import.meta.dirname, '..', '..', 'plugins');
const BASE = { name: 'x', kind: 'exec', exec: 'run' };

test('what is left out has a default', () => {
  assert.deepEqual(parseManifest(JSON.stringify(BASE)), { ...defaultManifest('x', 'run'), version: '0.0.0' });
});

test('what cannot be used is named', () => {
  const cases: [unknown, RegExp][] = [
    [[], /a JSON object/],
    [null, /a JSON object/],
    [{ ...BASE, name: undefined }, /^name: a text/],
    [{ ...BASE, name: 5 }, /^name: a text/],
    [{ ...BASE, version: 'x'.repeat(129) }, /^version: a text of at most 128/],
    [{ ...BASE, kind: 'daemon' }, /^kind: one of exec, resident, stream/],
    [{ ...BASE, exec: [] }, /^exec: /],
    [{ ...BASE, exec: ['sh', 5] }, /^exec: /],
    [{ ...BASE, exec: '' }, /^exec: /],
    [{ ...BASE, exec: 'a\0b' }, /^exec: /],
    [{ ...BASE, ordered: 'yes' }, /^ordered: true or false/],
    [{ ...BASE, recycleAfter: 0 }, /^recycleAfter: a positive number/],
    [{ ...BASE, colour: 'red' }, /^colour: unknown key/],
    [{ ...BASE, invocation: { command: 5 } }, /^invocation.command: a text/],
    [{ ...BASE, args: [] }, /^args\.\*: an object/],
    [{ ...BASE, args: { 'a b': {} } }, /^args.a b: not a name/],
    [{ ...BASE, args: { a: 5 } }, /^args.a: an object/],
    [{ ...BASE, args: { a: { type: 'date' } } }, /^args.a.type: one of/],
    [{ ...BASE, args: { a: { typ: 'string' } } }, /^args.a.typ: unknown key/],
    [{ ...BASE, args: { a: { type: 'integer', default: 1.5 } } }, /^args.a.default: a value of type integer/],
    [{ ...BASE, args: { a: { enum: [] } } }, /^args.a.enum: a list/],
    [{ ...BASE, args: { a: { enum: [1] } } }, /^args.a.enum: a value of type string/],
    [{ ...BASE, args: { a: { pattern: '(' } } }, /^args.a.pattern: a regular expression/],
    [{ ...BASE, args: { a: { required: 1 } } }, /^args.a.required: a boolean/],
  ];
  for (const [value, expected] of cases) {
    assert.throws(
      () => parseManifest(JSON.stringify(value)),
      (error) => error instanceof ManifestError && expected.test(error.message),
      String(expected),
    );
  }
  assert.throws(() => parseManifest('{'), ManifestError);
});

test('texts become values of their types', () => {
  const schema = parseArgumentSchema({
    s: { type: 'string' },
    n: { type: 'number', enum: [1, 2.5] },
    i: { type: 'integer', default: 7 },
    b: { type: 'boolean' },
  });
  assert.deepEqual(typeArguments(schema, { s: '007', n: '2.5', b: 'false' }), { s: '007', n: 2.5, i: 7, b: false });
  assert.deepEqual(typeArguments(null, { any: '1' }), { any: '1' });
  for (const n of ['', ' 1', '0x10', '1e999', 'NaN', 'Infinity', '3']) assert.throws(() => typeArguments(schema, { n }), ArgumentError, n);
  for (const i of ['1.5', '99999999999999999999', '-']) assert.throws(() => typeArguments(schema, { i }), ArgumentError, i);
  for (const name of ['__proto__', 'constructor', 'toString'])
    assert.throws(() => typeArguments(schema, Object.fromEntries([[name, 'x']])), ArgumentError);
});

test('every plugin of the package has a complete plugin.json that stands where its name says', () => {
  const files = readdirSync(PLUGINS, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('plugin.json'));
  assert.deepEqual(files.map((file) => dirname(file)).sort(), ['command', 'echo', 'file/append', 'file/stream', 'skeleton']);
  for (const file of files) {
    const manifest = parseManifest(readFileSync(join(PLUGINS, file), 'utf8'));
    const folder = dirname(file);
    assert.ok(isPluginName(manifest.name));
    assert.ok(manifest.name === folder || manifest.name === `${folder}/${folder}`, manifest.name);
    for (const text of [manifest.description, manifest.author, manifest.licence]) assert.notEqual(text, '');
    assert.doesNotThrow(() => typeArguments(manifest.args, manifest.invocation.args));
    if (manifest.exec.length === 1) assert.ok(existsSync(join(PLUGINS, folder, manifest.exec[0])));
  }
});

test('the skeleton is shorter than 20 lines', () => {
  const lines = readFileSync(join(PLUGINS, 'skeleton', 'skeleton.ts'), 'utf8')
    .trimEnd()
    .split('\n');
  assert.ok(lines.length < 20, `${lines.length} lines`);
});
