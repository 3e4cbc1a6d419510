-- Clocks with a rule. A row of `schedules` is all it takes: whoever inserts it, in whatever transaction, has a schedule when that commits.
-- PostgreSQL reads no cron expressions, so triggers put a job for the control-planes beside each change: one plans `next_run_at`
-- (schedule.plan), another hands the slot to a timer shortly before it is due (schedule.fire). A fire is one transaction that compares and
-- sets `next_run_at`, records the slot in `schedule_fires` and hands the invocation to the queue.
create table triggerfs.schedules (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  name text not null check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  description text not null default '' check (length(description) <= 1000),
  enabled boolean not null default true,
  -- When: one of these. `cron` has five fields, or six with seconds in front, or is a nickname such as @daily.
  cron text constraint schedules_cron check (
    cron ~* '^\s*@[a-z]+\s*$' or (cron ~ '^[A-Za-z0-9*/,?#\s-]+$' and array_length(regexp_split_to_array(btrim(cron, E' \t\n\r'), '\s+'), 1) in (5, 6))),
  every interval constraint schedules_every check (
    every between interval '1 second' and interval '366 days' and extract(year from every) = 0 and extract(month from every) = 0),
  run_at timestamptz(3),
  timezone text not null default 'UTC',
  -- What: the rule of a trigger file (by path or id), or a service with a plugin.
  trigger text,
  trigger_id integer,
  service text check (service ~ '^([A-Za-z0-9_][A-Za-z0-9_.-]{0,62}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  plugin text check (plugin ~ '^[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})?$'),
  args jsonb not null default '{}' check (jsonb_typeof(args) = 'object' and length(args::text) <= 65536 and not jsonb_path_exists(args, '$.* ? (@.type() != "string")')),
  payload text not null default '' check (length(payload) <= 65536),
  -- Null: the time limit of the trigger or service.
  timeout interval check (timeout between interval '1 ms' and interval '7 days'),
  retries integer not null default 0 check (retries between 0 and 100),
  -- Slots that passed while nothing could fire them: none, the newest, or each of them, unless they are older than the window.
  catchup text not null default 'one' check (catchup in ('skip', 'one', 'all')),
  catchup_window interval not null default '1 hour' check (catchup_window between interval '0' and interval '366 days'),
  -- A slot whose earlier fire has not ended: gives up, waits (one of them), or runs beside it.
  overlap text not null default 'skip' check (overlap in ('skip', 'queue', 'allow')),
  -- Fires up to this much later, each schedule always by the same time.
  jitter interval not null default '0' check (jitter between interval '0' and interval '1 day'),
  paused_until timestamptz(3),
  -- Identity of the worker that keeps the clock; null: the control-planes.
  resident text,
  -- Filled in by the control-planes. `error` says why there is no next run.
  next_run_at timestamptz(3),
  last_due_at timestamptz(3),
  last_fired_at timestamptz(3),
  last_outcome text,
  last_item uuid,
  error text,
  -- Slots after this moment count; `every` is counted from it. `version` tells rules apart that have the same next run.
  planned_from timestamptz(3) not null default now(),
  version integer not null default 1,
  owner_id integer references triggerfs.users on delete set null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (id),
  foreign key (team_id, trigger_id) references triggerfs.triggers (team_id, id) on delete set null (trigger_id),
  constraint schedules_one_rule check (num_nonnulls(cron, every, run_at) <= 1),
  constraint schedules_one_target check (trigger is null or num_nonnulls(service, plugin) = 0)
);
create unique index schedules_name on triggerfs.schedules (team_id, lower(name));
create index schedules_due on triggerfs.schedules (next_run_at) where next_run_at is not null;
create index schedules_trigger on triggerfs.schedules (team_id, trigger_id) where trigger_id is not null;

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

do $$
declare
  t text;
begin
  foreach t in array array['schedules', 'schedule_fires'] loop
    execute format('alter table triggerfs.%I enable row level security', t);
    execute format('alter table triggerfs.%I force row level security', t);
    execute format('create policy team_only on triggerfs.%I to triggerfs_app using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()))', t);
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
    execute format('create policy edge_read on triggerfs.%I for select to triggerfs_edge using (true)', t);
    execute format('create policy jobs_all on triggerfs.%I to triggerfs_jobs using (true) with check (true)', t);
  end loop;
end $$;
-- Of an application: the schedules of the team that its login works for, and of their columns those that are not filled in by us.
create policy application_only on triggerfs.schedules to triggerfs_application
  using (team_id = (select triggerfs.application_team())) with check (team_id = (select triggerfs.application_team()));
create policy application_only on triggerfs.schedule_fires for select to triggerfs_application
  using (team_id = (select triggerfs.application_team()));
grant select, delete, insert (name, description, enabled, cron, every, run_at, timezone, trigger, trigger_id, service, plugin, args, payload, timeout,
    retries, catchup, catchup_window, overlap, jitter, paused_until, resident),
  update (name, description, enabled, cron, every, run_at, timezone, trigger, trigger_id, service, plugin, args, payload, timeout,
    retries, catchup, catchup_window, overlap, jitter, paused_until, resident) on triggerfs.schedules to triggerfs_application;
grant select on triggerfs.schedule_fires to triggerfs_application;
grant select, insert, update, delete on triggerfs.schedules to triggerfs_app;
grant select, insert on triggerfs.schedule_fires to triggerfs_app;
grant select on triggerfs.schedules to triggerfs_edge;
grant select, update on triggerfs.schedules to triggerfs_jobs;
grant select, insert, delete on triggerfs.schedule_fires to triggerfs_jobs;

-- How much later than its slots a schedule fires: always the same for one schedule, spread evenly over many.
create function triggerfs.schedule_offset(schedule integer, jitter interval) returns interval
  language sql immutable parallel safe
  return (('x' || substr(md5(schedule::text), 1, 7))::bit(28)::integer
    % (floor(extract(epoch from jitter) * 1000)::integer + 1)) * interval '1 ms';

-- Finds the team of a row that names none: that of the transaction, of the application's role, or the only one there is.
create function triggerfs.schedule_team() returns integer
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select coalesce(triggerfs.application_team(), triggerfs.current_team(), triggerfs.only_team())
$$;

-- Refuses what can be seen to be wrong here, follows triggers, and has the planning start over when rule or target changed.
create function triggerfs.prepare_schedule() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  fresh boolean := tg_op = 'INSERT';
  rule boolean := fresh or row(new.cron, new.every, new.run_at, new.timezone, new.enabled, new.paused_until, new.resident)
    is distinct from row(old.cron, old.every, old.run_at, old.timezone, old.enabled, old.paused_until, old.resident);
  target boolean := fresh or row(new.trigger, new.trigger_id, new.service, new.plugin)
    is distinct from row(old.trigger, old.trigger_id, old.service, old.plugin);
  -- A rollback brings back what was there, also where what it refers to was gone already; and names follow by themselves.
  exact boolean := coalesce(current_setting('app.restoring', true), '') <> 'on' and pg_trigger_depth() = 1;
  found_trigger record;
begin
  if fresh then
    new.team_id := coalesce(new.team_id, triggerfs.schedule_team());
    if new.team_id is null then
      raise exception 'whose schedule is it? name the team_id' using errcode = 'not_null_violation', constraint = 'schedules_team';
    end if;
  end if;
  if not rule and not target then
    return new;
  end if;
  if fresh or new.timezone <> old.timezone then
    begin
      perform now() at time zone new.timezone;
    exception when others then
      raise exception 'there is no time zone %', new.timezone using errcode = 'check_violation', constraint = 'schedules_timezone';
    end;
  end if;
  if exact and new.resident is distinct from old.resident and new.resident is not null
    and not exists (select from triggerfs.workers w where w.team_id = new.team_id and lower(w.identity) = lower(new.resident)) then
    raise exception 'there is no worker %', new.resident using errcode = 'foreign_key_violation', constraint = 'schedules_resident';
  end if;
  if exact and target and new.service is not null and new.plugin is not null then
    -- The owner of the database need not see what is local to a user; everybody else does.
    perform triggerfs.assert_callable(new.team_id, case when triggerfs.application_team() is not null then new.owner_id
      else (select s.owner_id from triggerfs.services s where s.team_id = new.team_id and lower(s.name) = lower(new.service)) end,
      new.service, new.plugin, new.args);
  end if;
  if new.trigger_id is not null and new.trigger_id is distinct from old.trigger_id
    or new.trigger is not null and new.trigger is distinct from old.trigger then
    select t.id, d.path || '/' || t.name as path into found_trigger
      from triggerfs.triggers t join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
      where t.team_id = new.team_id
        and (not exact or t.visibility <> 'local' or t.owner_id = new.owner_id or triggerfs.application_team() is null)
        and case
        when new.trigger_id is not null and new.trigger_id is distinct from old.trigger_id then t.id = new.trigger_id
        else d.path || '/' || t.name in (new.trigger, '/' || new.trigger) end;
    if exact and found_trigger.id is null then
      raise exception 'there is no trigger %', coalesce(new.trigger, new.trigger_id::text)
        using errcode = 'foreign_key_violation', constraint = 'schedules_trigger';
    end if;
    new.trigger_id := found_trigger.id;
    new.trigger := coalesce(found_trigger.path, new.trigger);
  elsif new.trigger is null then
    new.trigger_id := null;
  end if;
  new.error := case
    when num_nonnulls(new.cron, new.every, new.run_at) = 0 then 'it has no cron, every or run_at yet'
    when new.trigger is not null and new.trigger_id is null then format('the trigger %s is gone', new.trigger)
    when new.trigger is null and num_nonnulls(new.service, new.plugin) < 2 then 'it has no trigger, or no service with a plugin, yet'
  end;
  if rule or new.error is not null or old.error is not null then
    new.version := coalesce(old.version, 0) + 1;
    new.planned_from := clock_timestamp();
    new.next_run_at := null;
  end if;
  return new;
end $$;
create trigger schedules_prepare before insert or update of cron, every, run_at, timezone, enabled, paused_until, resident, trigger, trigger_id,
  service, plugin, args on triggerfs.schedules
  for each row execute function triggerfs.prepare_schedule();

-- Puts one job beside each schedule, in place of the one that is there. graphile-worker loses the request, and returns nothing, for a job
-- that a worker locks at that moment (its issue 580); asked again, it makes a new one.
create function triggerfs.add_schedule_jobs(task text, schedules integer[], due timestamptz[]) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  pending integer[] := schedules;
  at timestamptz[] := due;
  added text[];
begin
  for attempt in 1..20 loop
    if coalesce(cardinality(pending), 0) = 0 then
      return;
    end if;
    select coalesce(array_agg(j.key), '{}') into added from graphile_worker.add_jobs(array(
      select row(task, json_build_object('id', w.id), null, w.at, 10, 'schedule:' || w.id, null, null)::graphile_worker.job_spec
      from unnest(pending, at) as w (id, at) order by w.id)) j;
    if cardinality(added) = cardinality(pending) then
      return;
    end if;
    select array_agg(w.id), array_agg(w.at) into pending, at from unnest(pending, at) as w (id, at) where 'schedule:' || w.id <> all (added);
  end loop;
  raise exception 'the jobs of % schedules cannot be placed', cardinality(pending) using errcode = 'serialization_failure';
end $$;

-- A slot gets its job when it is near: jobs for months ahead would only make the table of jobs larger. What is nearer than ten seconds is kept
-- in the timer of the control-plane that planned it, and by the sweep should that one die.
create function triggerfs.add_fire_jobs(schedules integer[], due timestamptz[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  select triggerfs.add_schedule_jobs('schedule.fire', array_agg(w.id), array_agg(w.at - interval '6 s'))
    from unnest(schedules, due) as w (id, at)
    where w.at > clock_timestamp() + interval '8 s' and w.at < clock_timestamp() + interval '15 min'
    having count(*) > 0
$$;

create function triggerfs.after_schedules_insert() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  perform triggerfs.add_schedule_jobs('schedule.plan', array_agg(n.id), array_agg(now()))
    from n where n.enabled and n.error is null and n.resident is null having count(*) > 0;
  return null;
end $$;
create trigger schedules_inserted after insert on triggerfs.schedules referencing new table as n
  for each statement execute function triggerfs.after_schedules_insert();

create function triggerfs.after_schedules_update() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  replanned integer[];
begin
  -- EXCEPT hashes; joins of transition tables, whose size is not known when the plan is made, become nested loops.
  replanned := array(select v.id from (select n.id, n.version from n except select o.id, o.version from o) v);
  perform triggerfs.add_fire_jobs(array_agg(c.id), array_agg(c.next_run_at + triggerfs.schedule_offset(c.id, c.jitter)))
    from (select n.id, n.next_run_at, n.jitter from n except select o.id, o.next_run_at, o.jitter from o) c
    where c.next_run_at is not null and c.id <> all (replanned) having count(*) > 0;
  if cardinality(replanned) = 0 then
    return null;
  end if;
  perform triggerfs.add_schedule_jobs('schedule.plan', array_agg(n.id), array_agg(now()))
    from n where n.id = any (replanned) and n.enabled and n.error is null and n.resident is null having count(*) > 0;
  perform graphile_worker.remove_job('schedule:' || n.id)
    from n where n.id = any (replanned) and not (n.enabled and n.error is null and n.resident is null);
  -- A slot that was due but not yet fired goes with the rule it came from.
  insert into triggerfs.schedule_fires (schedule_id, due_at, team_id, outcome, reason)
    select o.id, o.next_run_at, o.team_id, 'missed', 'the schedule was changed before it could fire'
    from o where o.id = any (replanned) and o.next_run_at <= clock_timestamp()
    on conflict do nothing;
  return null;
end $$;
create trigger schedules_changed after update on triggerfs.schedules referencing old table as o new table as n
  for each statement execute function triggerfs.after_schedules_update();

create function triggerfs.after_schedules_delete() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  perform graphile_worker.remove_job('schedule:' || o.id) from o;
  return null;
end $$;
create trigger schedules_deleted after delete on triggerfs.schedules referencing old table as o
  for each statement execute function triggerfs.after_schedules_delete();

create trigger schedules_updated before update of name, description, enabled, cron, every, run_at, timezone, trigger, trigger_id, service, plugin,
  args, payload, timeout, retries, catchup, catchup_window, overlap, jitter, paused_until, resident on triggerfs.schedules
  for each row execute function triggerfs.set_updated_at();

-- Brokers hand resident schedules to their workers, so these are configuration; a fire is not.
create trigger schedules_touch_insert after insert on triggerfs.schedules
  for each row when (new.resident is not null) execute function triggerfs.touch_team_config();
create trigger schedules_touch_update after update of name, enabled, cron, every, run_at, timezone, trigger, trigger_id, service, plugin,
  args, payload, timeout, retries, catchup, catchup_window, overlap, jitter, paused_until, resident on triggerfs.schedules
  for each row when (old.resident is not null or new.resident is not null) execute function triggerfs.touch_team_config();
create trigger schedules_touch_delete after delete on triggerfs.schedules
  for each row when (old.resident is not null) execute function triggerfs.touch_team_config();

-- Schedules name what they run, for people who read the table; the names follow.
create function triggerfs.rename_scheduled() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  if tg_table_name = 'services' then
    update triggerfs.schedules s set service = new.name where s.team_id = new.team_id and lower(s.service) = lower(old.name);
  elsif tg_table_name = 'workers' then
    update triggerfs.schedules s set service = new.identity where s.team_id = new.team_id and lower(s.service) = lower(old.identity);
    update triggerfs.schedules s set resident = new.identity where s.team_id = new.team_id and lower(s.resident) = lower(old.identity);
  elsif tg_table_name = 'triggers' then
    update triggerfs.schedules s set trigger = d.path || '/' || new.name from triggerfs.directories d
      where s.team_id = new.team_id and s.trigger_id = new.id and d.team_id = new.team_id and d.id = new.directory_id;
  else
    update triggerfs.schedules s set trigger = new.path || '/' || t.name from triggerfs.triggers t
      where s.team_id = new.team_id and s.trigger_id = t.id and t.team_id = new.team_id and t.directory_id = new.id;
  end if;
  return null;
end $$;
create trigger services_scheduled after update of name on triggerfs.services for each row when (old.name <> new.name) execute function triggerfs.rename_scheduled();
create trigger workers_scheduled after update of identity on triggerfs.workers for each row when (old.identity <> new.identity) execute function triggerfs.rename_scheduled();
create trigger triggers_scheduled after update of name, directory_id on triggerfs.triggers for each row execute function triggerfs.rename_scheduled();
create trigger directories_scheduled after update of path on triggerfs.directories for each row execute function triggerfs.rename_scheduled();

-- Puts back jobs that are missing (lost, failed for good, or of a restored backup) and those whose time has come near. Returns how many.
create function triggerfs.heal_schedules() returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  unplanned integer[];
  waiting record;
begin
  unplanned := array(select s.id from triggerfs.schedules s
    where s.next_run_at is null and s.enabled and s.error is null and s.resident is null and s.planned_from < now() - interval '5 s'
      and (s.run_at is null or s.last_due_at is null or s.last_due_at < s.run_at) order by s.id limit 5000);
  perform triggerfs.add_schedule_jobs('schedule.plan', unplanned, array(select now() from unnest(unplanned)));
  select coalesce(array_agg(s.id), '{}') as ids, coalesce(array_agg(s.at), '{}') as due into waiting from (
    select s.id, s.next_run_at + triggerfs.schedule_offset(s.id, s.jitter) as at from triggerfs.schedules s
    where s.next_run_at > now() - interval '1 day' and s.next_run_at < now() + interval '15 min') s
    where s.at > now() + interval '8 s' and s.at < now() + interval '15 min'
      and not exists (select from graphile_worker.jobs j where j.key = 'schedule:' || s.id and j.attempts < j.max_attempts);
  perform triggerfs.add_fire_jobs(waiting.ids, waiting.due);
  return cardinality(unplanned) + cardinality(waiting.ids);
end $$;

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
    join triggerfs.schedules s on s.id = w.id and s.next_run_at = w.due and s.version = w.version
    left join triggerfs.triggers t on t.team_id = s.team_id and t.id = s.trigger_id
    left join triggerfs.services v on v.team_id = t.team_id and v.id = t.service_id
    left join triggerfs.users u on u.id = s.owner_id
    where s.enabled and s.error is null and s.resident is null
    order by s.id for update of s skip locked
$$;

-- Records slots, and hands what is to be run to the queue: item n of `items`, with payloads[n], is the one of the fire with its id as
-- `invocation`. A slot that has its row already is not run again. Keys of a fire: schedule, team, due, outcome, source, offsetMs, invocation,
-- through, reason. Returns how many slots were new.
create function triggerfs.record_fires(fires jsonb, items jsonb, payloads bytea[]) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  made integer;
  known uuid[];
begin
  with given as (
    select * from jsonb_to_recordset(fires) as f (schedule integer, team integer, due timestamptz, outcome text, source text, "offsetMs" bigint,
      invocation uuid, through timestamptz, reason text)
  ), inserted as (
    insert into triggerfs.schedule_fires as i (schedule_id, due_at, team_id, outcome, source, lateness_ms, invocation_id, through_at, reason)
      select g.schedule, g.due, g.team, g.outcome, coalesce(g.source, 'clock'),
        greatest(0, (extract(epoch from clock_timestamp() - g.due) * 1000)::bigint - coalesce(g."offsetMs", 0)), g.invocation, g.through, coalesce(g.reason, '')
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

-- Pools of graphile-worker that are alive. It keeps the jobs of a killed process locked for four hours; here they are free again after half a
-- minute, because its pool beats no longer.
create table triggerfs.worker_pools (
  pool_id text primary key,
  beat_at timestamptz(3) not null default now()
);

-- Notes that pools live and frees the jobs of those that do not. Returns how many are dead.
create function triggerfs.beat_worker_pools(pools text[], silence interval) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  dead text[];
begin
  insert into triggerfs.worker_pools as w (pool_id) select p from unnest(pools) p order by p
    on conflict (pool_id) do update set beat_at = now();
  delete from triggerfs.worker_pools w where w.beat_at < now() - silence;
  dead := array(select distinct j.locked_by from graphile_worker.jobs j
    where j.locked_at < now() - silence and not exists (select from triggerfs.worker_pools w where w.pool_id = j.locked_by));
  if cardinality(dead) > 0 then
    perform graphile_worker.force_unlock_workers(dead);
  end if;
  return cardinality(dead);
end $$;

-- Time zone data that the next runs were computed with. A control-plane with newer data has them computed again.
create table triggerfs.schedule_zones (
  one boolean primary key default true check (one),
  version text not null
);
create function triggerfs.adopt_zones(latest text) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  insert into triggerfs.schedule_zones as z (version) values (latest)
    on conflict (one) do update set version = excluded.version where z.version < excluded.version;
  if found then
    update triggerfs.schedules s set next_run_at = null, planned_from = clock_timestamp(), version = s.version + 1
      where s.cron is not null and s.next_run_at > clock_timestamp();
    return true;
  end if;
  return false;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.schedule_offset(integer, interval) to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on function triggerfs.record_fires(jsonb, jsonb, bytea[]) to triggerfs_app, triggerfs_jobs;
grant execute on function triggerfs.take_schedules(integer[], timestamptz[], integer[]), triggerfs.heal_schedules(),
  triggerfs.add_schedule_jobs(text, integer[], timestamptz[]), triggerfs.beat_worker_pools(text[], interval), triggerfs.adopt_zones(text) to triggerfs_jobs;
