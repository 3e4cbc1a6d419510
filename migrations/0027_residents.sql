-- Schedules that are kept by workers: who holds which, and since which slot. A worker may be cut off, so taking a schedule back takes effect
-- when it has let go, or when its time without a word from a broker is over; until then nobody else fires.
alter table triggerfs.schedules
  -- How long the resident fires on without a word from a broker.
  add column offline interval not null default '1 day' check (offline between interval '1 minute' and interval '366 days');

create table triggerfs.schedule_holds (
  -- No foreign keys to schedules and workers: reports of what was deleted meanwhile still come.
  schedule_id integer not null,
  -- Counts how often the schedule has changed hands.
  generation integer not null,
  team_id integer not null references triggerfs.teams on delete cascade,
  worker_id integer not null,
  identity text not null,
  -- Slots after this are the worker's.
  from_at timestamptz(3) not null,
  -- The longest that the worker was allowed to go on without a word.
  offline interval not null,
  -- The worker's journal that took it; null: none has yet.
  journal uuid,
  -- Another journal of the same worker asks for it, since then.
  rival uuid,
  rival_since timestamptz(3),
  -- Taken back, paused, or deleted.
  ended_at timestamptz(3),
  -- Slots of the time in which it was changed as well are nobody's: whoever is next begins after this.
  resume_at timestamptz(3),
  -- The worker has let go, after this slot; or its time was over.
  closed_at timestamptz(3),
  until_at timestamptz(3),
  primary key (schedule_id, generation)
);
create unique index schedule_holds_open on triggerfs.schedule_holds (schedule_id) where closed_at is null;
create index schedule_holds_worker on triggerfs.schedule_holds (worker_id) where closed_at is null;
create index schedule_holds_team on triggerfs.schedule_holds (team_id);

call triggerfs.isolate_teams('schedule_holds');
create policy edge_read on triggerfs.schedule_holds for select to triggerfs_edge using (true);
grant select on triggerfs.schedule_holds to triggerfs_app, triggerfs_edge;
grant insert (offline), update (offline) on triggerfs.schedules to triggerfs_application;

-- Follows each change of a schedule's rule or resident, after prepare_schedule. An open hold of somebody else keeps the schedule from being
-- planned by an `error`, which the control-planes respect; closing the hold takes it away.
create function triggerfs.follow_resident() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  wanted record;
  hold triggerfs.schedule_holds;
  altered boolean := tg_op = 'UPDATE' and row(new.cron, new.every, new.run_at, new.timezone, new.enabled, new.paused_until)
    is distinct from row(old.cron, old.every, old.run_at, old.timezone, old.enabled, old.paused_until);
begin
  if tg_op = 'UPDATE' and new.version = old.version and new.error is not distinct from old.error and new.offline = old.offline then
    return new;
  end if;
  select w.id, w.identity into wanted from triggerfs.workers w
    where new.resident is not null and new.enabled and new.error is null and w.team_id = new.team_id and lower(w.identity) = lower(new.resident);
  if new.resident is not null and new.error is null and wanted.id is null and new.enabled then
    new.error := format('the worker %s is gone', new.resident);
  end if;
  select * into hold from triggerfs.schedule_holds h where h.schedule_id = new.id and h.closed_at is null for update;
  if hold.schedule_id is not null and hold.worker_id is distinct from wanted.id and hold.journal is null then
    update triggerfs.schedule_holds h set ended_at = now(), closed_at = now(), until_at = h.from_at
      where h.schedule_id = hold.schedule_id and h.generation = hold.generation;
    perform triggerfs.touch_config(new.team_id);
    hold := null;
  end if;
  if hold.schedule_id is null then
    -- When only the keeper of the clock has changed, periods go on in the same rhythm, and what a worker whose clock is fast has dealt with stays so.
    if tg_op = 'UPDATE' and not altered then
      new.planned_from := case when new.every is null then greatest(new.planned_from, old.planned_from)
        else old.planned_from + floor(greatest(extract(epoch from new.planned_from - old.planned_from), 0) / extract(epoch from new.every)) * new.every end;
    end if;
    if wanted.id is not null then
      insert into triggerfs.schedule_holds (schedule_id, generation, team_id, worker_id, identity, from_at, offline)
        select new.id, coalesce(max(h.generation), 0) + 1, new.team_id, wanted.id, wanted.identity, new.planned_from, new.offline
        from triggerfs.schedule_holds h where h.schedule_id = new.id;
      perform triggerfs.touch_config(new.team_id);
    end if;
    return new;
  end if;
  update triggerfs.schedule_holds h set
      ended_at = case when wanted.id is distinct from h.worker_id then coalesce(h.ended_at, now()) end,
      resume_at = case when altered then clock_timestamp() else h.resume_at end,
      from_at = case when altered then greatest(h.from_at, new.planned_from) else h.from_at end,
      offline = greatest(h.offline, new.offline)
    where h.schedule_id = hold.schedule_id and h.generation = hold.generation returning * into hold;
  if hold.ended_at is not null and new.error is null then
    new.error := format('worker %s may still fire it: it goes on when that worker has let go, at the latest at %s', hold.identity,
      to_char((hold.ended_at + hold.offline + interval '30 s') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  end if;
  -- What is not altered keeps its slots: periods are counted from where they were.
  if not altered and tg_op = 'UPDATE' then
    new.planned_from := old.planned_from;
  end if;
  perform triggerfs.touch_config(new.team_id);
  return new;
end $$;

-- Triggers fire by name: after schedules_prepare.
create trigger schedules_resident before insert or update on triggerfs.schedules for each row execute function triggerfs.follow_resident();

create function triggerfs.end_hold() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  update triggerfs.schedule_holds h set ended_at = coalesce(h.ended_at, now()),
      closed_at = case when h.journal is null then now() end, until_at = case when h.journal is null then h.from_at end
    where h.schedule_id = old.id and h.closed_at is null;
  return null;
end $$;
create trigger schedules_resident_deleted after delete on triggerfs.schedules for each row execute function triggerfs.end_hold();

-- A worker that comes or goes is looked up again by the schedules that name it.
create function triggerfs.follow_worker() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  update triggerfs.schedules s set version = s.version + 1, next_run_at = null, planned_from = clock_timestamp(),
      error = case when s.error like 'the worker % is gone' then null else s.error end
    where s.team_id = coalesce(new.team_id, old.team_id) and lower(s.resident) = lower(coalesce(new.identity, old.identity));
  return null;
end $$;
create trigger workers_resident after insert or delete on triggerfs.workers for each row execute function triggerfs.follow_worker();

-- A worker has let a schedule go after the slot `last` (or its time is over): whoever is next goes on from there.
create function triggerfs.close_hold(schedule integer, of_generation integer, last timestamptz) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  hold triggerfs.schedule_holds;
  team integer;
begin
  -- The order of locks is that of a change of the schedule: first its row, then the hold.
  perform from triggerfs.schedules s where s.id = schedule for update;
  update triggerfs.schedule_holds h set closed_at = now(), ended_at = coalesce(h.ended_at, now()), until_at = greatest(last, h.from_at)
    where h.schedule_id = schedule and h.generation = of_generation and h.closed_at is null returning * into hold;
  if hold.schedule_id is null then
    return;
  end if;
  update triggerfs.schedules s set version = s.version + 1, next_run_at = null,
      error = case when s.error like 'worker % may still fire it: %' then null else s.error end,
      -- Periods go on in the same rhythm.
      planned_from = case when hold.resume_at > hold.until_at then hold.resume_at
        when s.every is null then greatest(hold.until_at, s.planned_from)
        else s.planned_from + floor(greatest(extract(epoch from hold.until_at - s.planned_from), 0) / extract(epoch from s.every)) * s.every end
    where s.id = schedule;
  perform triggerfs.touch_config(hold.team_id);
end $$;

-- Closes holds of workers that did not answer for as long as they may go on without a word. What they fired until then comes when they come back.
create function triggerfs.lapse_holds() returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  hold record;
  closed integer := 0;
begin
  for hold in select h.schedule_id, h.generation from triggerfs.schedule_holds h
      where h.closed_at is null and h.ended_at + h.offline + interval '30 s' < now() order by h.schedule_id loop
    perform triggerfs.close_hold(hold.schedule_id, hold.generation, now());
    closed := closed + 1;
  end loop;
  return closed;
end $$;

-- Takes a schedule from its worker at once, without waiting for it: for a worker that is known to be dead. One that is only cut off
-- fires it a second time. The schedule stays where its row says: with the control-planes, or a resident, which takes it anew.
create function triggerfs.take_over_schedule(schedule integer) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  found_generation integer;
begin
  select h.generation into found_generation from triggerfs.schedule_holds h where h.schedule_id = schedule and h.closed_at is null
    and h.team_id = coalesce(triggerfs.current_team(), h.team_id);
  if found_generation is null then
    return false;
  end if;
  perform triggerfs.close_hold(schedule, found_generation, now());
  return true;
end $$;

-- A worker says what its journal has let go, and learns what it keeps: a row for each schedule that is the worker's. `waiting` is when a schedule
-- that another journal of the same worker holds is free at the latest; null: it is this journal's. While another journal waits for it (`contested`), brokers
-- do not confirm it to this one any more, so that its time runs out before the other's wait does. A new session (`greeting`) ends that: the worker is there again.
create function triggerfs.keep_schedules(worker integer, by_journal uuid, released jsonb, greeting boolean)
  returns table (schedule integer, generation integer, "from" timestamptz, taken boolean, waiting timestamptz, contested boolean, name text, cron text, timezone text,
    "everyMs" float8, anchor timestamptz, "runAt" timestamptz, service text, plugin text, args jsonb, payload text, "timeoutMs" float8,
    catchup text, "catchupWindowMs" float8, overlap text, "offsetMs" float8, "pausedUntil" timestamptz, "offlineMs" float8)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
#variable_conflict use_column
declare
  gone record;
  fresh integer[];
begin
  for gone in select r.schedule, r.generation, r.last from jsonb_to_recordset(released) as r (schedule integer, generation integer, last bigint)
      join triggerfs.schedule_holds h on h.schedule_id = r.schedule and h.generation = r.generation
      where h.worker_id = keep_schedules.worker and h.journal = by_journal and h.closed_at is null order by r.schedule loop
    perform triggerfs.close_hold(gone.schedule, gone.generation, to_timestamp(gone.last / 1000.0));
  end loop;
  -- A journal that waited long enough for another one takes over; which slots that one fired is not known, so none of them is fired again.
  update triggerfs.schedule_holds h set journal = by_journal, rival = null, rival_since = null, from_at = now()
    where h.worker_id = keep_schedules.worker and h.closed_at is null and h.ended_at is null and h.rival = by_journal
      and h.rival_since + h.offline + interval '30 s' < now();
  if found then
    perform triggerfs.touch_config(w.team_id) from triggerfs.workers w where w.id = keep_schedules.worker;
  end if;
  update triggerfs.schedule_holds h set rival = by_journal, rival_since = now()
    where h.worker_id = keep_schedules.worker and h.closed_at is null and h.ended_at is null and h.journal <> by_journal and h.rival is distinct from by_journal;
  if found then
    perform triggerfs.touch_config(w.team_id) from triggerfs.workers w where w.id = keep_schedules.worker;
  end if;
  update triggerfs.schedule_holds h set rival = null, rival_since = null
    where greeting and h.worker_id = keep_schedules.worker and h.closed_at is null and h.journal = by_journal and h.rival is not null;
  with new_holds as (
    update triggerfs.schedule_holds h set journal = by_journal
      where h.worker_id = keep_schedules.worker and h.closed_at is null and h.ended_at is null and h.journal is null returning h.schedule_id
  )
  select coalesce(array_agg(n.schedule_id), '{}') into fresh from new_holds n;
  return query
    select s.id, h.generation,
        -- What was reported is known also to a journal that has forgotten it.
        -- The one time of a schedule counts also when it has passed already.
        case when s.run_at <= h.from_at and (s.last_due_at is null or s.last_due_at < s.run_at) and h.generation = 1 then s.run_at - interval '1 ms'
          else greatest(h.from_at, case when h.schedule_id <> all (fresh) then (select coalesce(f.through_at, f.due_at) from triggerfs.schedule_fires f
          where f.schedule_id = s.id and f.due_at >= h.from_at and f.worker is not null order by f.due_at desc limit 1) end) end,
        h.schedule_id <> all (fresh), case when h.journal <> by_journal then h.rival_since + h.offline + interval '30 s' end, h.journal = by_journal and h.rival is not null, s.name, s.cron, s.timezone,
        extract(epoch from s.every)::float8 * 1000, s.planned_from, s.run_at, coalesce(s.service, v.name), coalesce(s.plugin, t.plugin),
        coalesce(t.args, '{}') || s.args, s.payload, coalesce(extract(epoch from s.timeout)::float8 * 1000, t.timeout_ms), s.catchup,
        extract(epoch from s.catchup_window)::float8 * 1000, s.overlap,
        extract(epoch from triggerfs.schedule_offset(s.id, s.jitter))::float8 * 1000, s.paused_until, extract(epoch from s.offline)::float8 * 1000
      from triggerfs.schedule_holds h join triggerfs.schedules s on s.id = h.schedule_id and s.team_id = h.team_id
      left join triggerfs.triggers t on t.team_id = s.team_id and t.id = s.trigger_id
      left join triggerfs.services v on v.team_id = t.team_id and v.id = t.service_id
      where h.worker_id = keep_schedules.worker and h.closed_at is null and h.ended_at is null and coalesce(s.plugin, t.plugin) is not null
      -- RESIDENT_LIMITS.schedules: more than a worker may say in one KEEP it does not get.
      order by s.id limit 10000;
end $$;

-- Slots that a worker reports. Returns for each its place, whether it is new, and for the history whose schedule it is; those of schedules that the
-- worker never held are not in the answer.
create function triggerfs.report_fires(worker integer, fires jsonb) returns table (place integer, fresh boolean, caller text, "triggerId" integer)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
#variable_conflict use_column
begin
  return query
    with given as (
      select f.*, h.identity, h.team_id from jsonb_to_recordset(fires) as f (place integer, schedule integer, generation integer, due bigint, through bigint,
          outcome text, reason text, at bigint, invocation uuid)
        join triggerfs.schedule_holds h on h.schedule_id = f.schedule and h.generation = f.generation and h.worker_id = report_fires.worker
    ), inserted as (
      insert into triggerfs.schedule_fires as i (schedule_id, due_at, team_id, outcome, fired_at, lateness_ms, invocation_id, through_at, reason, worker)
        select g.schedule, to_timestamp(g.due / 1000.0), g.team_id, g.outcome, to_timestamp(g.at / 1000.0),
            greatest(0, g.at - g.due - (extract(epoch from triggerfs.schedule_offset(s.id, s.jitter)) * 1000)::bigint), g.invocation, to_timestamp(g.through / 1000.0), g.reason, g.identity
          from given g join triggerfs.schedules s on s.id = g.schedule and s.team_id = g.team_id
          order by g.schedule, g.due
        -- A hand-over at the moment of a slot may have written it off as missed already.
        on conflict (schedule_id, due_at) do update set outcome = excluded.outcome, fired_at = excluded.fired_at, lateness_ms = excluded.lateness_ms,
            invocation_id = excluded.invocation_id, through_at = excluded.through_at, reason = excluded.reason, worker = excluded.worker
          where i.outcome = 'missed' and i.worker is null and excluded.invocation_id is not null
        returning i.schedule_id, i.due_at
    ), newest as (
      select distinct on (g.schedule) g.schedule, to_timestamp(coalesce(g.through, g.due) / 1000.0) as due_at, g.outcome, g.invocation, to_timestamp(g.at / 1000.0) as at
        from given g order by g.schedule, g.due desc
    ), noted as (
      update triggerfs.schedules s set last_due_at = n.due_at, last_fired_at = case when n.invocation is null then s.last_fired_at else n.at end,
          last_outcome = n.outcome, last_item = coalesce(n.invocation, s.last_item)
        from newest n where s.id = n.schedule and (s.last_due_at is null or s.last_due_at < n.due_at)
    )
    select g.place,
        case when s.id is not null then exists (select from inserted i where i.schedule_id = g.schedule and i.due_at = to_timestamp(g.due / 1000.0))
          else not exists (select from triggerfs.invocations i where i.id = g.invocation and i.team_id = g.team_id) end,
        coalesce(u.identity, ''), s.trigger_id
      from given g left join triggerfs.schedules s on s.id = g.schedule and s.team_id = g.team_id left join triggerfs.users u on u.id = s.owner_id
      order by g.place;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.lapse_holds() to triggerfs_jobs;
grant execute on function triggerfs.take_over_schedule(integer) to triggerfs_app;
grant execute on function triggerfs.keep_schedules(integer, uuid, jsonb, boolean), triggerfs.report_fires(integer, jsonb) to triggerfs_edge;
