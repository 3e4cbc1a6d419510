import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { listOf, ObjectParams } from '../../protocol/http/common.ts';
import {
  FirePage,
  FireQuery,
  PreviewQuery,
  ScheduleChange,
  ScheduleCreate,
  SchedulePause,
  SchedulePreview,
  ScheduleRun,
  ScheduleView,
} from '../../protocol/http/schedule.ts';
import { isMoment } from '../../protocol/moment.ts';
import { assertMayChange, type Principal } from '../auth/principal.ts';
import type { App, Services } from '../context.ts';
import type { Transaction } from '../database.ts';
import { principalOf } from '../http/guard.ts';
import { preview } from './preview.ts';
import * as schedules from './repository.ts';
import { runNow } from './run-now.ts';

const PREVIEW = 10;
const PAGE = 50;

/** Runs a change of one schedule that the caller may change. */
type Change = <T>(principal: Principal, name: string, work: (tx: Transaction, schedule: schedules.ScheduleRow) => Promise<T>) => Promise<T>;

/** Schedules: what they are, when they are due, and what became of their slots. */
export function registerSchedules(app: App, { database, queue }: Services): void {
  const change: Change = (principal, name, work) =>
    database.inTeam(principal.teamId, async (tx) => {
      const schedule = await schedules.findSchedule(tx, principal.teamId, name);
      assertMayChange(principal, schedule.ownerId, `the schedule ${schedule.name}`);
      return work(tx, schedule);
    });
  registerReading(app, database);
  registerChanges(app, database, change);
  registerClock(app, queue, change);
}

function registerReading(app: App, database: Services['database']): void {
  app.get(
    '/v1/schedules',
    { config: { policy: 'read' }, schema: { summary: 'Schedules of the team', response: { 200: listOf(ScheduleView) } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return { items: await database.inTeam(teamId, (tx) => schedules.listSchedules(tx, teamId)) };
    },
  );

  app.get(
    '/v1/schedules/:name',
    { config: { policy: 'read' }, schema: { summary: 'A schedule', params: ObjectParams, response: { 200: ScheduleView } } },
    async (request) => {
      const { teamId } = principalOf(request);
      return database.inTeam(teamId, (tx) => schedules.findSchedule(tx, teamId, request.params.name));
    },
  );

  app.get(
    '/v1/schedules/:name/preview',
    {
      config: { policy: 'read' },
      schema: { summary: 'When it is due next', params: ObjectParams, querystring: PreviewQuery, response: { 200: SchedulePreview } },
    },
    async (request) => {
      const { teamId } = principalOf(request);
      const schedule = await database.inTeam(teamId, (tx) => schedules.findSchedule(tx, teamId, request.params.name));
      if (schedule.cron === null && schedule.everyMs === null && schedule.runAt === null) {
        throw new TriggerFsError('TFS_CONFLICT', `the schedule ${schedule.name} has no cron, every or run_at yet`);
      }
      return preview(schedule, Date.now(), Number(request.query.count ?? PREVIEW));
    },
  );

  app.get(
    '/v1/schedules/:name/fires',
    {
      config: { policy: 'read' },
      schema: {
        summary: 'Its slots and what became of them, newest first',
        params: ObjectParams,
        querystring: FireQuery,
        response: { 200: FirePage },
      },
    },
    async (request) => {
      const { teamId } = principalOf(request);
      const { before = null, outcome = null, limit = PAGE } = request.query;
      if (before !== null && !isMoment(before)) throw new TriggerFsError('TFS_BAD_REQUEST', `before is a time, not ${before}`);
      const filter = { before, outcome, limit: Number(limit) };
      const items = await database.inTeam(teamId, async (tx) => {
        const { id } = await schedules.findSchedule(tx, teamId, request.params.name);
        return schedules.listFires(tx, teamId, id, filter);
      });
      return { items, next: items.length === filter.limit ? (items.at(-1)?.dueAt ?? null) : null };
    },
  );
}

function registerChanges(app: App, database: Services['database'], change: Change): void {
  app.post(
    '/v1/schedules',
    { config: { policy: 'change' }, schema: { summary: 'Make a schedule', body: ScheduleCreate, response: { 201: ScheduleView } } },
    async (request, reply) => {
      const principal = principalOf(request);
      const { teamId } = principal;
      const { name, ...rule } = request.body;
      const schedule = await database.inTeam(teamId, async (tx) => {
        const id = await schedules.createSchedule(tx, principal, name);
        await schedules.changeSchedule(tx, teamId, await schedules.findSchedule(tx, teamId, id), rule);
        return schedules.findSchedule(tx, teamId, id);
      });
      return reply.code(201).send(schedule);
    },
  );

  app.patch(
    '/v1/schedules/:name',
    {
      config: { policy: 'change' },
      schema: { summary: 'Change a schedule', params: ObjectParams, body: ScheduleChange, response: { 200: ScheduleView } },
    },
    async (request) => {
      const principal = principalOf(request);
      return change(principal, request.params.name, async (tx, schedule) => {
        await schedules.changeSchedule(tx, principal.teamId, schedule, request.body);
        return schedules.findSchedule(tx, principal.teamId, schedule.id);
      });
    },
  );

  app.delete(
    '/v1/schedules/:name',
    { config: { policy: 'change' }, schema: { summary: 'Delete a schedule', params: ObjectParams, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const principal = principalOf(request);
      await change(principal, request.params.name, (tx, { id }) => schedules.deleteSchedule(tx, principal.teamId, id));
      return reply.code(204).send(null);
    },
  );
}

function registerClock(app: App, queue: Services['queue'], change: Change): void {
  app.post(
    '/v1/schedules/:name/run',
    {
      config: { policy: 'change' },
      schema: { summary: 'Fire it now, beside its slots', params: ObjectParams, response: { 202: ScheduleRun } },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const ran = await change(principal, request.params.name, (tx, schedule) => runNow(tx, principal, schedule));
      queue.nudge();
      return reply.code(202).header('location', `/v1/invocations/${ran.id}`).send(ran);
    },
  );

  app.post(
    '/v1/schedules/:name/pause',
    {
      config: { policy: 'change' },
      schema: {
        summary: 'Let no slot be due, for good or until a time',
        params: ObjectParams,
        body: SchedulePause,
        response: { 200: ScheduleView },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const { until } = request.body;
      return change(principal, request.params.name, async (tx, schedule) => {
        await schedules.changeSchedule(tx, principal.teamId, schedule, until === undefined ? { enabled: false } : { pausedUntil: until });
        return schedules.findSchedule(tx, principal.teamId, schedule.id);
      });
    },
  );

  app.post(
    '/v1/schedules/:name/resume',
    { config: { policy: 'change' }, schema: { summary: 'End a pause', params: ObjectParams, response: { 200: ScheduleView } } },
    async (request) => {
      const principal = principalOf(request);
      return change(principal, request.params.name, async (tx, schedule) => {
        await schedules.changeSchedule(tx, principal.teamId, schedule, { enabled: true, pausedUntil: null });
        return schedules.findSchedule(tx, principal.teamId, schedule.id);
      });
    },
  );
}
