-- Schedules: times that everybody can write, and no way round the checks for applications.

-- PostgreSQL knows the years 4714 before to 294276 after, and infinite times; neither JavaScript nor ISO 8601 does.
update triggerfs.schedules set run_at = greatest(least(run_at, '9999-12-31 23:59:59Z'), '0001-01-01 00:00:00Z'),
    paused_until = greatest(least(paused_until, '9999-12-31 23:59:59Z'), '0001-01-01 00:00:00Z')
  where run_at not between '0001-01-01 00:00:00Z' and '9999-12-31 23:59:59Z' or paused_until not between '0001-01-01 00:00:00Z' and '9999-12-31 23:59:59Z';
alter table triggerfs.schedules
  add constraint schedules_run_at check (run_at between '0001-01-01 00:00:00Z' and '9999-12-31 23:59:59Z'),
  add constraint schedules_paused_until check (paused_until between '0001-01-01 00:00:00Z' and '9999-12-31 23:59:59Z');

-- As in 0017, but what applications write is always looked at, and `team/service` of the own team becomes `service`.
create or replace function triggerfs.prepare_schedule() returns trigger
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

-- As in 0016, but an item that has ended in the meantime gets nothing back.
create or replace function triggerfs.queue_seal(items uuid[], payloads bytea[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.queue_items i set payload = g.payload, sealed = true from unnest(items, payloads) g (id, payload)
    where i.id = g.id and not i.sealed and i.payload is not null
$$;
