import { TriggerFsError } from '../errors.ts';
import { SCHEDULE_LIMITS } from '../http/schedule.ts';
import { isMoment } from '../moment.ts';
import { isName, isTreePath, parseServiceAddress } from '../names.ts';
import { choice, description, duration, plugin, type Setting, timeout } from './setting.ts';

/** Settings of schedules by word. The control-plane reads cron expressions and time zones; here only their letters are checked. */
export const SCHEDULE_SETTINGS: Readonly<Record<string, Setting>> = {
  description,
  timezone: text('timezone', 'ZONE', 'Time zone of cron and of times', 'UTC', {
    is: (value) => /^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(value),
    what: 'a time zone such as America/New_York',
  }),
  cron: text('cron', '"EXPRESSION"', 'When it is due, in place of every or at', null, {
    is: (value) => /^[A-Za-z0-9*/,?#@\s-]{1,200}$/.test(value),
    what: 'a cron expression such as "0 3 * * *"',
  }),
  every: duration('everyMs', 'Period, in place of cron or at', {
    word: 'every',
    min: SCHEDULE_LIMITS.minEveryMs,
    max: SCHEDULE_LIMITS.maxEveryMs,
    initial: null,
  }),
  at: text('runAt', 'TIME', 'Its one time, in place of cron or every', null, {
    is: isMoment,
    what: 'a time such as 2026-12-24T18:00, or with Z at the end in UTC',
  }),
  trigger: text('trigger', 'TRIGGER', 'Trigger whose rule is run, in place of service and plugin', null, {
    is: (value) => isTreePath(value) && value !== '/',
    what: 'the path of a trigger such as /demo/command',
  }),
  service: text('service', 'SERVICE', 'Service that runs it', null, {
    is: (value) => parseServiceAddress(value) !== null,
    what: 'the name of a service',
  }),
  plugin,
  payload: text('payload', '"TEXT"', 'What the plugin gets as its input', '', {
    is: (value) => value.length <= SCHEDULE_LIMITS.payloadLength,
    what: `a text of at most ${SCHEDULE_LIMITS.payloadLength} characters`,
  }),
  timeout: timeout(null),
  retries: {
    field: 'retries',
    usage: 'N',
    doc: 'Attempts after a failed one',
    initial: 0,
    parse: (value) => {
      if (/^\d{1,3}$/.test(value) && Number(value) <= 100) return Number(value);
      throw new TriggerFsError('TFS_USAGE', `retries is a number from 0 to 100, not ${value}`);
    },
    format: String,
  },
  catchup: choice('catchup', 'Slots that were missed: none, the newest, or each', ['skip', 'one', 'all'], 'one'),
  catchup_window: duration('catchupWindowMs', 'Slots that are older are not caught up', {
    usage: '1h',
    word: 'catchup_window',
    min: 0,
    max: SCHEDULE_LIMITS.maxWindowMs,
    initial: 3_600_000,
  }),
  overlap: choice('overlap', 'While an earlier fire goes on: skip, wait, or run beside', ['skip', 'queue', 'allow'], 'skip'),
  jitter: duration('jitterMs', 'Fires up to this much later, always by the same time', {
    usage: '5s',
    word: 'jitter',
    min: 0,
    max: SCHEDULE_LIMITS.maxJitterMs,
    initial: 0,
  }),
  resident: text('resident', 'WORKER', 'Worker that keeps the clock', null, { is: isName, what: 'the identity of a worker' }),
  offline: duration('offlineMs', 'How long that worker fires on without a word from a broker', {
    usage: '24h',
    word: 'offline',
    min: SCHEDULE_LIMITS.minOfflineMs,
    max: SCHEDULE_LIMITS.maxWindowMs,
    initial: 86_400_000,
  }),
  paused_until: text('pausedUntil', 'TIME', 'Slots before this are not due', null, {
    is: isMoment,
    what: 'a time such as 2026-12-24T18:00, or with Z at the end in UTC',
  }),
  enabled: {
    field: 'enabled',
    usage: 'on|off',
    doc: 'Whether its slots are due',
    choices: ['on', 'off'],
    initial: true,
    parse: (value) => {
      if (value === 'on' || value === 'off') return value === 'on';
      throw new TriggerFsError('TFS_USAGE', `enabled is on or off, not ${value}`);
    },
    format: (value) => (value === true ? 'on' : 'off'),
  },
};

function text(
  field: string,
  usage: string,
  doc: string,
  initial: string | null,
  { is, what }: { readonly is: (value: string) => boolean; readonly what: string },
): Setting {
  return {
    field,
    usage,
    doc,
    initial,
    parse: (value) => {
      if (is(value)) return value;
      throw new TriggerFsError('TFS_USAGE', `${value.slice(0, 100)} is not ${what}`);
    },
    format: String,
  };
}
