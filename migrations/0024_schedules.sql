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
  -- PostgreSQL knows the years 4714 before to 294276 after, and infinite times; neither JavaScript nor ISO 8601 does.
  run_at timestamptz(3) constraint schedules_run_at check (run_at between '0001-01-01 00:00:00Z' and '9999-12-31 23:59:59Z'),
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
  paused_until timestamptz(3) constraint schedules_paused_until check (paused_until between '0001-01-01 00:00:00Z' and '9999-12-31 23:59:59Z'),
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

call triggerfs.isolate_teams('schedules');
create policy edge_read on triggerfs.schedules for select to triggerfs_edge using (true);
create policy jobs_all on triggerfs.schedules to triggerfs_jobs using (true) with check (true);

-- Of an application: the schedules of the team that its login works for, and of their columns those that are not filled in by us.
create policy application_only on triggerfs.schedules to triggerfs_application
  using (team_id = (select triggerfs.application_team())) with check (team_id = (select triggerfs.application_team()));
grant select, delete, insert (name, description, enabled, cron, every, run_at, timezone, trigger, trigger_id, service, plugin, args, payload, timeout,
    retries, catchup, catchup_window, overlap, jitter, paused_until, resident),
  update (name, description, enabled, cron, every, run_at, timezone, trigger, trigger_id, service, plugin, args, payload, timeout,
    retries, catchup, catchup_window, overlap, jitter, paused_until, resident) on triggerfs.schedules to triggerfs_application;
grant select, insert, update, delete on triggerfs.schedules to triggerfs_app;
grant select on triggerfs.schedules to triggerfs_edge;
grant select, update on triggerfs.schedules to triggerfs_jobs;

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
  -- A rollback brings back what was there, also where what it refers to was gone already; and names follow by themselves. Applications do neither,
  -- but they can set what they like and have triggers of their own.
  exact boolean := exists (select from triggerfs.applications a where a.role = session_user)
    or coalesce(current_setting('app.restoring', true), '') <> 'on' and pg_trigger_depth() = 1;
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
  -- A service of one's own goes by one name, by which its visibility and its limits are found.
  if lower(split_part(new.service, '/', 1)) = (select lower(t.name) from triggerfs.teams t where t.id = new.team_id) and position('/' in new.service) > 0 then
    new.service := split_part(new.service, '/', 2);
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

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.schedule_offset(integer, interval) to triggerfs_app, triggerfs_edge, triggerfs_jobs;
