import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig, SECTIONS } from '../../runtime/config/index.ts';
import { readTable } from '../support/markdown.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const document = readFileSync(join(ROOT, 'docs', 'configuration.md'), 'utf8');

function chapter(title: string): string {
  const start = document.indexOf(`\n## ${title}\n`);
  assert.ok(start >= 0, `docs/configuration.md has no chapter ${title}`);
  return document.slice(start, document.indexOf('\n## ', start + 1));
}

for (const [name, keys] of Object.entries(SECTIONS)) {
  test(`docs/configuration.md lists the keys of [${name}]`, () => {
    const documented = readTable(chapter(`[${name}]`), ['key', 'default', 'meaning']);
    const inCode = Object.entries(keys).map(([key, { shown, doc, secret }]) => {
      const words = shown.startsWith('the ') ? shown : `\`${shown}\``;
      const fallback = shown === '""' ? 'empty' : words;
      return [`\`${key}\``, secret ? 'none, secret' : fallback, doc];
    });
    assert.deepEqual(documented, inCode);
  });
}

test('docs/configuration.md has no chapter for a section that does not exist', () => {
  const chapters = [...document.matchAll(/^## \[([^\]]+)\]$/gm)].map(([, name]) => name);
  assert.deepEqual(chapters, [...Object.keys(SECTIONS), 'workers.TEAM.IDENTITY']);
});

test('the variables are those that the code reads', () => {
  const documented = readTable(chapter('Environment'), ['variable', 'meaning']).map(([name = '']) => name.replaceAll('`', ''));
  const code = readFileSync(join(ROOT, 'runtime', 'environment.ts'), 'utf8');
  const read = [...code.matchAll(/\benv\.([A-Z_]+)/g)].map(([, name]) => name);
  for (const name of documented) assert.ok(read.includes(name), `${name} is not read`);
  for (const name of read) {
    const common = ['HOME', 'PATH', 'LANG', 'CI', 'LD_LIBRARY_PATH'].includes(String(name));
    assert.ok(common || documented.includes(String(name)), `${name} is not documented`);
  }
});

test('every example in the document is a configuration that is accepted', () => {
  const examples = [...document.matchAll(/```toml\n([\s\S]*?)```/g)].map(([, text]) => text ?? '');
  assert.ok(examples.length > 0);
  for (const example of examples) parseConfig(example, null);
});
