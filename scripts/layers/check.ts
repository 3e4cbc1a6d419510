import { importsOf, lineAt, packageOf, resolveImport } from './imports.ts';
import {
  ENVIRONMENT_READERS,
  FORBIDDEN_NAMES,
  FORBIDDEN_TEXTS,
  LAYERS,
  MAX_BIN_LINES,
  MAX_LINES,
  OPEN_FOLDERS,
  PACKAGES,
} from './rules.ts';

/** All source files: path from the root of the repository, and text. */
export type Sources = ReadonlyMap<string, string>;

const CODE = /\.(?:ts|mts|mjs|js)$/;

/** Checks the rules of the house and returns one line for each break of one: `file:line: what, why`. */
export function checkHouse(sources: Sources): string[] {
  const problems: string[] = [];
  for (const [file, text] of sources) {
    problems.push(...checkTexts(file, text));
    if (!CODE.test(file)) continue;
    problems.push(...checkShape(file, text), ...checkImports(file, text));
  }
  return [...problems, ...checkCycles(sources)];
}

function checkTexts(file: string, text: string): string[] {
  const problems: string[] = [];
  for (const { pattern, reason } of FORBIDDEN_TEXTS) {
    const match = pattern.exec(text);
    if (match !== null) problems.push(`${file}:${lineAt(text, match.index)}: ${JSON.stringify(match[0])} is not allowed: ${reason}`);
  }
  return problems;
}

function checkShape(file: string, text: string): string[] {
  const problems: string[] = [];
  const lines = text.split('\n').length - 1;
  const limit = file.endsWith('/bin.ts') ? MAX_BIN_LINES : MAX_LINES;
  if (!file.startsWith('test/') && lines > limit) problems.push(`${file}:${limit}: ${lines} lines, at most ${limit}: split it by nouns`);
  if (FORBIDDEN_NAMES.test(file)) problems.push(`${file}:1: the name says nothing about what is inside`);
  const environment = /\bprocess\.env\b/.exec(text);
  if (environment !== null && !ENVIRONMENT_READERS.some((reader) => reader.test(file))) {
    problems.push(
      `${file}:${lineAt(text, environment.index)}: process.env is read only in runtime/environment.ts, so that everything a process depends on is listed there`,
    );
  }
  return problems;
}

function checkImports(file: string, text: string): string[] {
  const folder = file.split('/')[0] ?? '';
  if (OPEN_FOLDERS.includes(folder)) return [];
  const layer = LAYERS[folder];
  if (layer === undefined) return [`${file}:1: the folder ${folder} has no row in scripts/layers/rules.ts`];
  const problems: string[] = [];
  for (const { specifier, line } of importsOf(text)) {
    const target = resolveImport(file, specifier);
    const problem = target === null ? packageProblem(folder, specifier) : layerProblem(file, folder, target);
    if (problem !== null) problems.push(`${file}:${line}: ${problem}`);
  }
  return problems;
}

function layerProblem(file: string, folder: string, target: string): string | null {
  const layer = LAYERS[folder] as (typeof LAYERS)[string];
  const allowed = layer.imports.some((name) => target.startsWith(`${name}/`));
  // Plugins are houses of their own: each sees its own folder and the SDK.
  const own = folder === 'plugins' ? file.split('/').slice(0, 2).join('/') : folder;
  if (allowed || target.startsWith(`${own}/`)) return null;
  return `${folder} may not import ${target}: ${layer.reason}`;
}

function packageProblem(folder: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) return folder === 'protocol' ? `protocol may not import ${specifier}: it is pure` : null;
  const name = packageOf(specifier);
  const users = PACKAGES[name];
  if (users === undefined) return `the package ${name} has no row in scripts/layers/rules.ts`;
  return users.includes(folder) ? null : `${folder} may not use ${name}: only ${users.join(', ')} may`;
}

/** Depth-first search over the imports that exist at run time. */
function checkCycles(sources: Sources): string[] {
  const problems: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) problems.push(`${file}:1: import cycle ${[...path.slice(at), file].join(' → ')}`);
    if (at >= 0 || done.has(file)) return;
    for (const { specifier, typeOnly } of importsOf(sources.get(file) ?? '')) {
      const target = typeOnly ? null : resolveImport(file, specifier);
      if (target !== null && sources.has(target)) visit(target, [...path, file]);
    }
    done.add(file);
  };
  for (const file of sources.keys()) if (CODE.test(file)) visit(file, []);
  return problems;
}
