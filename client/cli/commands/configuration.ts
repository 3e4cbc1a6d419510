import { formatOperation } from '../../../protocol/configuration/format.ts';
import { LISTS, OBJECT_NAMES, OBJECTS, type ObjectName, type Operation } from '../../../protocol/configuration/operations.ts';
import { parseCommand } from '../../../protocol/configuration/parse.ts';
import { SETTINGS } from '../../../protocol/configuration/settings.ts';
import { quote } from '../../../protocol/configuration/tokens.ts';
import { TriggerFsError } from '../../../protocol/errors.ts';
import { applyChange } from '../changes/apply.ts';
import type { Call, Command } from '../command.ts';
import type { OptionSyntax, Part, Syntax } from '../grammar/command-tree.ts';
import type { Answer } from '../screen/answer.ts';
import { gatewaySyntax } from './gateway.ts';

/** Every `set`, `delete` and `rename` that the grammar of the configuration knows. */
export function configurationCommands(): Command[] {
  const objects = OBJECT_NAMES.flatMap((object) => [...setCommands(object), ...deleteCommands(object), ...renameCommands(object)]);
  return [...objects, ...gatewaySyntax()].map((syntax) => ({
    ...syntax,
    modes: ['configure'],
    run,
  }));
}

async function run(call: Call): Promise<Answer | null> {
  return applyChange(call, operationOf(call.parts));
}

/** The operation of a command; what was abbreviated is written out. @throws TriggerFsError TFS_USAGE, TFS_BAD_NAME */
export function operationOf(parts: readonly Part[]): Operation {
  // Values are quoted where they could be taken for words.
  const line = parts.map(({ text, keyword }) => (keyword ? text : quoted(text))).join(' ');
  const operation = parseCommand(line);
  if (operation === null) throw new TriggerFsError('TFS_USAGE', 'the command is empty');
  return operation;
}

/** The text of an operation, as it is sent and kept. */
export function commandText(operation: Operation): string {
  return formatOperation(operation);
}

function quoted(text: string): string {
  return /^[a-z]+$/.test(text) ? `"${text}"` : quote(text);
}

function wordOf(object: ObjectName): string {
  return `${object}|${OBJECTS[object].singular}`;
}

/** Name of the values of an object, for completion. */
function valueName(object: ObjectName): string {
  return `<${OBJECTS[object].singular}>`;
}

function optionsOf(object: ObjectName): Readonly<Record<string, OptionSyntax>> {
  return Object.fromEntries(
    Object.entries(SETTINGS[object]).map(([word, { doc, usage, choices, field }]) => {
      const value = field === 'plugin' ? 'plugin' : usage.replaceAll(/^"|"$/g, '').toLowerCase();
      return [word, choices === undefined ? { value, doc } : { value, choices, doc }];
    }),
  );
}

function setCommands(object: ObjectName): Syntax[] {
  const { naming, singular } = OBJECTS[object];
  const options = optionsOf(object);
  const made: Syntax[] = naming.map((word) => ({ pattern: `set ${wordOf(object)} ${word} <name>`, doc: `New ${singular}`, options }));
  const changed: Syntax = { pattern: `set ${wordOf(object)} ${valueName(object)}`, doc: `Change the ${singular}`, options };
  if (object === 'invites' || object === 'tokens') return made;
  if (object === 'teams') return [...made, { pattern: `set ${wordOf(object)} description <text>`, doc: 'Describe this team' }, changed];
  if (object === 'triggers' || object === 'schedules') {
    const pattern = `set ${wordOf(object)} ${valueName(object)} args <key=value>`.replace('key=value', 'argument');
    made.push({ pattern, doc: 'Argument that the plugin gets, key=value' });
  }
  return [...made, changed, ...listCommands(object)];
}

function listCommands(object: ObjectName): Syntax[] {
  return Object.entries(LISTS[object] ?? {}).flatMap(([list, { add, remove, of, doc }]): Syntax[] => {
    const subject = `set ${wordOf(object)} ${valueName(object)} ${list}`;
    const item = `<${OBJECTS_OF[of]}>`;
    const commands: Syntax[] = [
      { pattern: `${subject} ${add} ${item}`, doc },
      { pattern: `${subject} ${remove} ${item}`, doc: 'Remove it' },
    ];
    if (list === 'plugins')
      commands.push({ pattern: `${subject} all`, doc: 'Allow every plugin' }, { pattern: `${subject} none`, doc: 'Allow none' });
    if (list === 'service') commands.push({ pattern: `${subject} ${remove}`, doc: 'Remove it' });
    return commands;
  });
}

const OBJECTS_OF = { workers: 'worker', plugins: 'plugin', services: 'service' } as const;

function deleteCommands(object: ObjectName): Syntax[] {
  const subject = `delete ${wordOf(object)} ${valueName(object)}`;
  const whole: Syntax = { pattern: subject, doc: `Delete the ${OBJECTS[object].singular}` };
  const settings = Object.entries(SETTINGS[object])
    .filter(([, { initial }]) => initial !== undefined)
    .map(([word]): Syntax => ({ pattern: `${subject} ${word}`, doc: 'Back to what a new one has' }));
  const lists = Object.entries(LISTS[object] ?? {}).map(([list, { of }]): Syntax => {
    return { pattern: list === 'service' ? `${subject} ${list}` : `${subject} ${list} <${OBJECTS_OF[of]}>`, doc: 'Remove it' };
  });
  const args: Syntax[] =
    object === 'triggers' || object === 'schedules' ? [{ pattern: `${subject} args <argument>`, doc: 'Remove an argument' }] : [];
  return [whole, ...settings, ...lists, ...args];
}

function renameCommands(object: ObjectName): Syntax[] {
  if (!OBJECTS[object].rename) return [];
  return [{ pattern: `rename ${wordOf(object)} ${valueName(object)} to <name>`, doc: `Rename the ${OBJECTS[object].singular}` }];
}
