import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { commands } from '../../../client/cli/commands/index.ts';
import { commandHelp } from '../../../client/cli/console.ts';
import { OPTIONS } from '../../../client/cli/main.ts';
import { PIPES } from '../../../client/cli/screen/pipes.ts';
import { packageRoot } from '../../../runtime/package-root.ts';
import { readTable } from '../../support/markdown.ts';
import { normalTranscript } from './transcript.ts';

const CONSOLE = readFileSync(join(packageRoot(), 'docs', 'console.md'), 'utf8');
const GET_STARTED = readFileSync(join(packageRoot(), 'docs', 'get-started.md'), 'utf8');
const GOLDEN = join(import.meta.dirname, 'golden');

/** The indented blocks of a page, without their indentation and blank lines. */
function blocks(page: string): string[][] {
  const found: string[][] = [];
  let block: string[] | null = null;
  for (const line of page.split('\n')) {
    if (line.startsWith('    ')) {
      if (block === null) {
        block = [];
        found.push(block);
      }
      block.push(line.slice(4));
    } else if (line.trim() !== '') block = null;
  }
  return found;
}

test('docs/console.md lists every command with its help', () => {
  const all = commands();
  const both = all.filter(({ modes }) => modes.includes('run'));
  const configure = all.filter(({ modes }) => !modes.includes('run'));
  const found = blocks(CONSOLE).map((block) => block.join('\n'));
  for (const listed of [both, configure]) {
    const help = commandHelp(listed).join('\n');
    assert.ok(found.includes(help), `a block with\n${help}`);
  }
});

test('docs/console.md lists the pipes and options of the program', () => {
  assert.deepEqual(
    readTable(CONSOLE, ['pipe', 'what it does']).map(([pipe = '']) => pipe.replaceAll('`', '').split(' ')[1]),
    Object.keys(PIPES),
  );
  assert.deepEqual(
    readTable(CONSOLE, ['option', 'meaning']).map(([option = '']) => /^`-([a-z]+)/.exec(option)?.[1]),
    Object.keys(OPTIONS),
  );
});

test('the transcripts of docs/console.md are those that a terminal showed', () => {
  const screen = readFileSync(join(GOLDEN, 'console.txt'), 'utf8');
  const transcripts = blocks(CONSOLE)
    .map((block) => normalTranscript(block.filter((line) => !line.startsWith('$ ')).join('\n')))
    .filter((text) => text.includes('(demo) demo@'));
  assert.ok(transcripts.length >= 6);
  for (const text of transcripts) assert.ok(screen.includes(text), text);
});

test('the transcripts of docs/get-started.md are those that a terminal showed', () => {
  const screens = ['get-started.txt', 'client.txt'].map((name) => readFileSync(join(GOLDEN, name), 'utf8'));
  const transcripts = blocks(GET_STARTED).filter(([first = '']) => /^(\(team1\)|hp1@|Identity:|2018)/.test(first));
  assert.ok(transcripts.length >= 8);
  for (const lines of transcripts) {
    const text = lines.filter((line) => line !== '').join('\n');
    assert.ok(
      screens.some((screen) => screen.includes(text)),
      text,
    );
  }
});
