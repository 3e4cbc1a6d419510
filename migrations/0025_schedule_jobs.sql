-- The jobs beside schedules: graphile-worker plans them and wakes those whose slot is near.

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
grant execute on function triggerfs.heal_schedules(), triggerfs.add_schedule_jobs(text, integer[], timestamptz[]),
  triggerfs.beat_worker_pools(text[], interval), triggerfs.adopt_zones(text) to triggerfs_jobs;
