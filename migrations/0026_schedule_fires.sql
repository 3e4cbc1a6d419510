-- Slots that were due, and the one transaction that fires them.

-- One row for every slot that was due, and for every run by hand. A row with `through_at` stands for all missed slots up to that one.
create table triggerfs.schedule_fires (
  schedule_id integer not null,
  due_at timestamptz(3) not null,
  team_id integer not null,
  outcome text not null check (outcome in ('fired', 'late', 'skipped', 'missed', 'caught-up')),
  source text not null default 'clock' check (source in ('clock', 'manual')),
  fired_at timestamptz(3) not null default clock_timestamp(),
  lateness_ms bigint not null default 0,
  -- The queue item, which is the invocation; null: nothing was run.
  invocation_id uuid,
  through_at timestamptz(3),
  reason text not null default '',
  -- The worker that fired it; null: a control-plane.
  worker text,
  primary key (schedule_id, due_at),
  foreign key (team_id, schedule_id) references triggerfs.schedules (team_id, id) on delete cascade
);
create index schedule_fires_age on triggerfs.schedule_fires using brin (fired_at);

call triggerfs.isolate_teams('schedule_fires');
create policy edge_read on triggerfs.schedule_fires for select to triggerfs_edge using (true);
create policy jobs_all on triggerfs.schedule_fires to triggerfs_jobs using (true) with check (true);
create policy application_only on triggerfs.schedule_fires for select to triggerfs_application
  using (team_id = (select triggerfs.application_team()));
grant select on triggerfs.schedule_fires to triggerfs_application;
grant select, insert on triggerfs.schedule_fires to triggerfs_app;
grant select, insert, delete on triggerfs.schedule_fires to triggerfs_jobs;

-- Of a schedule, what has not ended of what it handed to the queue: few, so that a fire can count them.
create index queue_items_open on triggerfs.queue_items (schedule_id) where schedule_id is not null and state in ('queued', 'running');

-- What a fire needs to know of schedules, locked until the end of the transaction. Not among them: what others are firing or changing, what has
-- another next run or another rule than was asked for. `service` is null when there is nothing to run.
create function triggerfs.take_schedules(ids integer[], due timestamptz[], versions integer[])
  returns table (id integer, "teamId" integer, "dueAt" timestamptz, catchup text, "windowMs" float8, overlap text, "offsetMs" integer, service text,
    plugin text, args jsonb, payload text, "triggerId" integer, "timeoutMs" integer, retries integer, caller text, open integer)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  select s.id, s.team_id, s.next_run_at, s.catchup, (extract(epoch from s.catchup_window) * 1000)::float8, s.overlap,
      (extract(epoch from triggerfs.schedule_offset(s.id, s.jitter)) * 1000)::integer,
      case when coalesce(s.plugin, t.plugin) is not null then coalesce(s.service, v.name) end, coalesce(s.plugin, t.plugin),
      coalesce(t.args, '{}') || s.args, s.payload, s.trigger_id,
      coalesce((extract(epoch from s.timeout) * 1000)::integer, t.timeout_ms), s.retries, coalesce(u.identity, ''),
      (select count(*)::integer from triggerfs.queue_items q where q.schedule_id = s.id and q.state in ('queued', 'running'))
    from unnest(ids, due, versions) as w (id, due, version)
    -- One by one, by their ids: thousands may be due at one instant, and no plan may look at all of them for each one.
    cross join lateral (select l.* from triggerfs.schedules l
      where l.id = w.id and l.next_run_at is not distinct from w.due and l.version = w.version
        and l.enabled and l.error is null and l.resident is null
      limit 1 for update skip locked) s
    left join triggerfs.triggers t on t.team_id = s.team_id and t.id = s.trigger_id
    left join triggerfs.services v on v.team_id = t.team_id and v.id = t.service_id
    left join triggerfs.users u on u.id = s.owner_id
    order by s.id
$$;

-- Records slots, and hands what is to be run to the queue: item n of `items`, with payloads[n], is the one of the fire with its id as
-- `invocation`. A slot that has its row already is not run again. Keys of a fire: schedule, team, due, outcome, source, offsetMs, invocation,
-- through, reason. Returns how many slots were new.
create function triggerfs.record_fires(fires jsonb, items jsonb, payloads bytea[]) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  made integer;
  known uuid[];
  refused uuid[] := '{}';
begin
  -- Who runs a schedule by hand is told; a slot of one team must not fail those of others.
  if exists (select from jsonb_array_elements(fires) f where coalesce(f ->> 'source', 'clock') = 'clock') then
    refused := triggerfs.fires_without_room(items);
  end if;
  with given as (
    select * from jsonb_to_recordset(fires) as f (schedule integer, team integer, due timestamptz, outcome text, source text, "offsetMs" bigint,
      invocation uuid, through timestamptz, reason text)
  ), inserted as (
    insert into triggerfs.schedule_fires as i (schedule_id, due_at, team_id, outcome, source, lateness_ms, invocation_id, through_at, reason)
      select g.schedule, g.due, g.team, case when g.invocation = any(refused) then 'skipped' else g.outcome end, coalesce(g.source, 'clock'),
        greatest(0, (extract(epoch from clock_timestamp() - g.due) * 1000)::bigint - coalesce(g."offsetMs", 0)),
        case when g.invocation <> all(refused) then g.invocation end, g.through,
        case when g.invocation = any(refused) then 'as many invocations wait as the plan of the team allows' else coalesce(g.reason, '') end
      from given g on conflict do nothing returning i.invocation_id
  )
  select count(*), coalesce(array_agg(i.invocation_id) filter (where i.invocation_id is not null), '{}') into made, known from inserted i;
  if cardinality(known) = jsonb_array_length(items) then
    perform triggerfs.enqueue(items, payloads) where cardinality(known) > 0;
  elsif cardinality(known) > 0 then
    perform triggerfs.enqueue(jsonb_agg(e.item order by e.n), array_agg(payloads[e.n] order by e.n))
      from jsonb_array_elements(items) with ordinality e (item, n) where (e.item ->> 'id')::uuid = any (known);
  end if;
  return made;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.record_fires(jsonb, jsonb, bytea[]) to triggerfs_app, triggerfs_jobs;
grant execute on function triggerfs.take_schedules(integer[], timestamptz[], integer[]) to triggerfs_jobs;
