import type { Command } from '../command.ts';
import { ACCOUNT } from './account.ts';
import { COMMIT } from './commit.ts';
import { configurationCommands } from './configuration.ts';
import { FILE } from './file.ts';
import { MAINTENANCE } from './maintenance.ts';
import { PEOPLE } from './people.ts';
import { REQUEST } from './request.ts';
import { SESSION } from './session.ts';
import { SHOW } from './show.ts';

/** The one table of commands: the console, scripts, completion, help and docs/console.md read it. */
export function commands(): readonly Command[] {
  return [...SESSION, ...SHOW, ...REQUEST, ...PEOPLE, ...ACCOUNT, ...MAINTENANCE, ...FILE, ...COMMIT, ...configurationCommands()];
}

/** Lines of help for words that begin several commands. */
export const TOPICS: Readonly<Record<string, string>> = {
  show: 'Show what there is',
  request: 'Make something happen now',
  set: 'Make or change something',
  delete: 'Delete something',
  rename: 'Rename something',
  configure: 'Change things',
  commit: 'Make the collected changes',
  rollback: 'Undo commits',
};
