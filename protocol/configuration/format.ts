import { formatHttp } from './http.ts';
import { LISTS, type ListName, OBJECTS, type ObjectName, type Operation, type Settings } from './operations.ts';
import { SETTINGS } from './settings.ts';
import { quote } from './tokens.ts';

/** Writes an operation as the command that `parseCommand` reads back as the same operation. */
export function formatOperation(operation: Operation): string {
  const { object, name } = operation;
  switch (operation.verb) {
    case 'create':
      return ['set', object, OBJECTS[object].naming[0] ?? '', quote(name), ...formatSettings(object, operation.settings)].join(' ');
    case 'change':
      return formatChange(object, name, operation.settings);
    case 'attach':
    case 'detach':
      return `set ${object} ${quoteName(object, name)} ${operation.list} ${listWord(operation)} ${quote(operation.item)}`;
    case 'argument':
      return operation.value === null
        ? `delete ${object} ${quoteName(object, name)} args ${quote(operation.key)}`
        : `set ${object} ${quoteName(object, name)} args ${operation.key}=${quote(operation.value)}`;
    case 'http':
    case 'hook':
      return formatHttp(operation);
    case 'delete':
      return `delete ${object} ${quote(name)}`;
    case 'rename':
      return `rename ${object} ${quote(name)} to ${quote(operation.to)}`;
  }
}

/** Null values have words of their own, since they go back to a default. */
function formatChange(object: ObjectName, name: string, settings: Settings): string {
  const subject = name === '' ? object : `${object} ${quoteName(object, name)}`;
  if (Object.hasOwn(settings, 'plugins')) return `set ${subject} plugins ${settings.plugins === null ? 'all' : 'none'}`;
  if (object === 'triggers' && settings.service === null) return `set ${subject} service detach`;
  const reset = Object.entries(SETTINGS[object]).find(([, { field }]) => settings[field] === null);
  if (reset !== undefined) return `delete ${subject} ${reset[0]}`;
  return ['set', subject, ...formatSettings(object, settings)].join(' ');
}

function formatSettings(object: ObjectName, settings: Settings): string[] {
  return Object.entries(SETTINGS[object]).flatMap(([word, { field, format }]) => {
    const value = settings[field];
    return value === undefined ? [] : [word, quote(format(value))];
  });
}

function listWord(operation: { verb: 'attach' | 'detach'; object: ObjectName; list: ListName }): string {
  const definition = LISTS[operation.object]?.[operation.list];
  return (operation.verb === 'attach' ? definition?.add : definition?.remove) ?? operation.verb;
}

/** Things that are called like the word that introduces a new one are quoted. */
function quoteName(object: ObjectName, name: string): string {
  return OBJECTS[object].naming.includes(name) ? `"${name}"` : quote(name);
}
