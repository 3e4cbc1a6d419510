import { dirname, join, normalize } from 'node:path';

/** One import of a source file. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** Vanishes when types are stripped, so it cannot take part in a cycle at run time. */
  readonly typeOnly: boolean;
}

const STATEMENT =
  /^(?:import\s+(?<type>type\s+)?(?:[\w$*{},\s]+?\sfrom\s+)?|export\s+(?<reexport>type\s+)?[\w$*{},\s]+?\sfrom\s+)['"](?<specifier>[^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"](?<specifier>[^'"]+)['"]\s*\)/g;

/** Finds the imports of a source text; good enough for formatted code, without a parser. */
export function importsOf(source: string): Import[] {
  const text = blankComments(source);
  const found: Import[] = [];
  for (const pattern of [STATEMENT, DYNAMIC]) {
    for (const match of text.matchAll(pattern)) {
      const { specifier = '', type, reexport } = match.groups ?? {};
      found.push({ specifier, line: lineAt(text, match.index), typeOnly: (type ?? reexport) !== undefined });
    }
  }
  return found;
}

/** File that a relative import leads to, from the root of the repository; null for packages and node:. */
export function resolveImport(file: string, specifier: string): string | null {
  return specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : null;
}

/** Name of the package of a specifier: `@scope/name/sub` is `@scope/name`. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Number of the line at an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** Replaces comments by spaces, so that lines stay where they are. Imports stand outside of strings, which is enough here. */
function blankComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\/|^[ \t]*\/\/.*$/gm, (comment) => comment.replaceAll(/[^\n]/g, ' '));
}
