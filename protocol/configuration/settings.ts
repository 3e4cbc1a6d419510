import { TriggerFsError } from '../errors.ts';
import { HISTORY_LEVELS } from '../history-level.ts';
import { LIMITS } from '../limits.ts';
import type { ObjectName } from './operations.ts';
import { SCHEDULE_SETTINGS } from './schedule-settings.ts';
import { choice, description, plugin, type Setting, timeout } from './setting.ts';

export type { Setting };

const QUOTA = /^([1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$/;
const ERROR_QUOTA = /^(0|[1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$/;
const visibility = choice('visibility', 'Who sees it: its owner, the team, or everyone', ['local', 'team', 'public'], 'local');
const role = choice('role', 'What they may do', ['owner', 'admin', 'member', 'viewer'], undefined);

/** Settings by object and word. */
export const SETTINGS: Readonly<Record<ObjectName, Readonly<Record<string, Setting>>>> = {
  teams: { description },
  users: { role },
  invites: { role },
  tokens: {
    scopes: {
      field: 'scopes',
      usage: 'read,write,invoke',
      doc: 'What the token may do, with commas between',
      initial: undefined,
      parse: (text) => {
        const scopes = text.split(',');
        const wrong = scopes.find((scope) => !['read', 'write', 'invoke'].includes(scope));
        if (wrong === undefined && new Set(scopes).size === scopes.length) return scopes;
        throw new TriggerFsError('TFS_USAGE', `scopes are read, write and invoke, each once with commas between, not ${text}`);
      },
      format: (value) => (value as readonly string[]).join(','),
    },
  },
  directories: { mode: mode(0o775) },
  workers: { description },
  services: {
    description,
    algorithm: choice('algorithm', 'How requests are spread over the workers', ['roundrobin', 'serial', 'mirror'], 'roundrobin'),
    timeout: timeout(LIMITS.defaultTimeoutMs),
    window: pattern('window', '2|25%', 'serial: how many workers at once', QUOTA, '1'),
    max_errors: pattern('maxErrors', '2|25%', 'serial: after how many errors to stop', ERROR_QUOTA, '1'),
    failover: choice('failover', 'always: starts a run again whose worker was lost', ['unstarted', 'always'], 'unstarted'),
    queue_limit: {
      field: 'queueLimit',
      usage: 'N',
      doc: 'How many requests may wait for a worker',
      initial: 10_000,
      parse: (text) => {
        if (/^\d{1,7}$/.test(text) && Number(text) <= 1_000_000) return Number(text);
        throw new TriggerFsError('TFS_USAGE', `queue_limit is a number from 0 to 1000000, not ${text}`);
      },
      format: String,
    },
    queue_concurrency: {
      field: 'queueConcurrency',
      usage: 'N',
      doc: 'How many queued invocations run at once',
      initial: null,
      parse: (text) => {
        if (/^[1-9]\d{0,5}$/.test(text) && Number(text) <= 100_000) return Number(text);
        throw new TriggerFsError('TFS_USAGE', `queue_concurrency is a number from 1 to 100000, not ${text}`);
      },
      format: String,
    },
    visibility,
    history: choice('history', 'What is kept of each request', HISTORY_LEVELS, 'output'),
  },
  triggers: {
    description,
    mode: mode(0o644),
    plugin,
    timeout: timeout(null),
    framing: choice('framing', 'What makes one request: each write, line, or close', ['write', 'line', 'close'], 'write'),
    durability: choice('durability', 'fsync: what was written survives a power loss', ['process', 'fsync'], 'process'),
    history: triggerHistory(),
    visibility,
  },
  schedules: SCHEDULE_SETTINGS,
};

/** A trigger file keeps what its service keeps, unless it says otherwise. */
function triggerHistory(): Setting {
  const words = choice(
    'history',
    'What is kept of its messages; service: what the service keeps',
    [...HISTORY_LEVELS, 'service'],
    undefined,
  );
  const parse = (text: string): string | null => (words.parse(text) === 'service' ? null : text);
  return { ...words, initial: null, parse, format: (value) => (value === null ? 'service' : String(value)) };
}

function pattern(field: string, usage: string, doc: string, allowed: RegExp, initial: string): Setting {
  return {
    field,
    usage,
    doc,
    initial,
    parse: (text) => {
      if (allowed.test(text)) return text;
      throw new TriggerFsError('TFS_USAGE', `${text} is neither a number of workers, such as 2, nor a share of them, such as 25%`);
    },
    format: String,
  };
}

function mode(initial: number): Setting {
  return {
    field: 'mode',
    usage: `0${initial.toString(8)}`,
    doc: 'Permission bits, octal',
    initial,
    parse: (text) => {
      if (/^[0-7]{3,5}$/.test(text) && Number.parseInt(text, 8) <= 0o7777) return Number.parseInt(text, 8);
      throw new TriggerFsError('TFS_USAGE', `a mode is octal, such as 0${initial.toString(8)}, not ${text}`);
    },
    format: (value) => Number(value).toString(8).padStart(4, '0'),
  };
}
