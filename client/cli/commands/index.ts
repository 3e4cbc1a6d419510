import type { Command } from '../command.ts';
import { ACCOUNT } from './account.ts';
import { COMMIT } from './commit.ts';
import { configurationCommands } from './configuration.ts';
import { FILE } from './file.ts';
import { HISTORY_COMMANDS } from './history.ts';
import { HOOK_COMMANDS } from './hooks.ts';
import { MAINTENANCE } from './maintenance.ts';
import { PEOPLE } from './people.ts';
import { QUEUE_COMMANDS } from './queue.ts';
import { REQUEST } from './request.ts';
import { SCHEDULE_COMMANDS } from './schedules.ts';
import { SESSION } from './session.ts';
import { SHOW } from './show.ts';
import { STATISTICS } from './statistics.ts';

/** The one table of commands: the console, scripts, completion, help and docs/console.md read it. */
export function commands(): readonly Command[] {
  return [
    ...SESSION,
    ...SHOW,
    ...REQUEST,
    ...PEOPLE,
    ...ACCOUNT,
    ...HISTORY_COMMANDS,
    ...STATISTICS,
    ...QUEUE_COMMANDS,
    ...SCHEDULE_COMMANDS,
    ...HOOK_COMMANDS,
    ...MAINTENANCE,
    ...FILE,
    ...COMMIT,
    ...configurationCommands(),
  ];
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
  monitor: 'Watch what runs',
};
