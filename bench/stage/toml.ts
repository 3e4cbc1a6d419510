import { writeFileSync } from 'node:fs';

/** Sections of a triggerfs.toml: values are texts, numbers, booleans or lists of texts. */
export type TomlSections = Readonly<Record<string, Readonly<Record<string, string | number | boolean | readonly string[]>>>>;

/** Writes a configuration file that only its owner can read. JSON's notation of these values is TOML's too. */
export function writeToml(file: string, sections: TomlSections): string {
  const text = Object.entries(sections)
    .map(([name, values]) => {
      const lines = Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`);
      return `[${name}]\n${lines.join('')}`;
    })
    .join('\n');
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}
