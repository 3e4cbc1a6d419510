import { HOOK_WORDS, HTTP_WORDS, type HttpWord } from '../../../protocol/configuration/http-words.ts';
import type { OptionSyntax, Syntax } from '../grammar/command-tree.ts';

const SERVICE = 'services|service <service> http';

/** What the configuration knows of services over HTTP, in the syntax of the console: one setting a command. */
export function gatewaySyntax(): Syntax[] {
  const set = `set ${SERVICE}`;
  const hook = `${set} hook <hook>`;
  return [
    { pattern: set, doc: 'How the service answers over HTTP', options: optionsOf(HTTP_WORDS, ['answer']) },
    { pattern: `${set} answer json`, doc: 'Answers tell verdict, exit code and output as JSON' },
    { pattern: `${set} answer raw`, doc: HTTP_WORDS.answer?.doc ?? '' },
    { pattern: `${set} answer raw <type>`, doc: 'What the plugin prints is the answer, of this content type' },
    { pattern: hook, doc: 'Webhook of the service; made when it is not there', options: optionsOf(HOOK_WORDS, []) },
    ...resetSyntax(`delete ${SERVICE}`, HTTP_WORDS, 'No settings for HTTP any more'),
    ...resetSyntax(`delete ${SERVICE} hook <hook>`, HOOK_WORDS, 'Delete the webhook'),
  ];
}

function optionsOf(words: Readonly<Record<string, HttpWord>>, without: readonly string[]): Record<string, OptionSyntax> {
  const kept = Object.entries(words).filter(([word]) => !without.includes(word));
  return Object.fromEntries(
    kept.map(([word, { usage, doc, choices }]) => {
      const value = word === 'plugin' ? 'plugin' : usage.toLowerCase();
      return [word, choices === undefined ? { value, doc } : { value, choices, doc }];
    }),
  );
}

/** Settings go back to what they were; of those with entries also single ones. */
function resetSyntax(subject: string, words: Readonly<Record<string, HttpWord>>, whole: string): Syntax[] {
  const names = (entries: boolean): string[] => Object.keys(words).filter((word) => words[word]?.entries === entries);
  const several = `${subject} <entries:${names(true).join('|')}>`;
  return [
    { pattern: subject, doc: whole },
    { pattern: `${subject} <setting:${names(false).join('|')}>`, doc: 'Back to what a new one has' },
    { pattern: several, doc: 'Remove all of them' },
    { pattern: `${several} <entry>`, doc: 'Remove it' },
  ];
}
