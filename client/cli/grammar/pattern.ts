/** One place of a command's pattern. */
export type Slot =
  /** Fixed words; the first is the name, the others are accepted, too. */
  | { readonly kind: 'word'; readonly words: readonly string[] }
  /** One of a few words, taken as a value. */
  | { readonly kind: 'choice'; readonly name: string; readonly words: readonly string[] }
  /** Anything; `name` says what (`worker`, `service`, ...), and completion offers what exists. */
  | { readonly kind: 'value'; readonly name: string };

/**
 * Reads a pattern such as `set services <service> algorithm <algorithm:roundrobin|serial|mirror>`. `trigger|triggers` are
 * two words for one thing.
 */
export function parsePattern(pattern: string): Slot[] {
  return pattern.split(' ').map((part) => {
    const inside = /^<([a-z-]+)(?::(.+))?>$/.exec(part);
    if (inside === null) return { kind: 'word', words: part.split('|') };
    const [, name = '', choices] = inside;
    return choices === undefined ? { kind: 'value', name } : { kind: 'choice', name, words: choices.split('|') };
  });
}

/** How a slot is shown in help. */
export function slotText(slot: Slot): string {
  if (slot.kind === 'word') return slot.words[0] as string;
  return slot.kind === 'choice' ? slot.words.join('|') : `<${slot.name}>`;
}
