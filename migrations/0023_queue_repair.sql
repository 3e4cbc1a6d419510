-- Changes of the queue from outside: items that people end or put back, and what is looked after by time.

-- Asks for the end of an item: a queued one ends at once. Returns the state it has now; null when the team has no such item.
create function triggerfs.queue_cancel(team integer, item uuid) returns text
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  was record;
begin
  select i.state, i.service_key into was from triggerfs.queue_items i where i.id = item and i.team_id = team for update;
  if was.state = 'queued' then
    update triggerfs.queue_items i set state = 'cancelled', verdict = 'cancelled', error = 'TFS_CANCELLED', detail = 'cancelled before it ran',
      ended_at = now(), parked = 0, cancel_requested = true where i.id = item;
    delete from pgboss.job j where j.name = 'invocations' and j.id = item;
    return 'cancelled';
  elsif was.state = 'running' then
    update triggerfs.queue_items i set cancel_requested = true where i.id = item;
  end if;
  return was.state;
end $$;

-- Puts ended items of a team back into the queue with all their retries and a new max age, and returns their number.
create function triggerfs.queue_redrive(team integer, items uuid[]) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  back uuid[];
begin
  perform triggerfs.check_queue_plan(team, (select count(*) from triggerfs.queue_items i
    where i.team_id = team and i.id = any(items) and i.state in ('dead', 'expired', 'cancelled')));
  with changed as (
    update triggerfs.queue_items i set state = 'queued', parked = 0, retried = 0, waits = 0, uncertain = false, cancel_requested = false,
        due_at = now(), expires_at = now() + i.max_age_ms * interval '1 ms', ended_at = null, verdict = null, exit_code = null, error = null,
        detail = '', answer = null
      where i.team_id = team and i.id = any(items) and i.state in ('dead', 'expired', 'cancelled') returning i.id
  )
  select array_agg(c.id) into back from changed c;
  perform triggerfs.queue_jobs(back);
  return coalesce(cardinality(back), 0);
end $$;

-- Looks after what waits without a job, every few seconds: services with room again, items that grew too old. Returns how many items
-- are in each state that is not the end, and how long the oldest that is due has waited.
create function triggerfs.queue_sweep() returns table (queued bigint, running bigint, dead bigint, oldest_ms bigint)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  old uuid[];
begin
  with changed as (
    update triggerfs.queue_items i set parked = 2, due_at = now() where i.id in (
      select p.id from triggerfs.queue_items p where p.state = 'queued' and p.parked = 1 and p.expires_at <= now() limit 1000 for update skip locked)
      returning i.id
  )
  select array_agg(c.id) into old from changed c;
  perform triggerfs.queue_jobs(old);
  perform triggerfs.queue_release(p.team_id, p.service_key)
    from (select distinct i.team_id, i.service_key from triggerfs.queue_items i where i.state = 'queued' and i.parked = 1) p;
  -- Team by team, along the index: what ended well, a week of it, is not looked at. The oldest is looked for among those accepted first.
  return query select coalesce(sum(c.queued), 0)::bigint, coalesce(sum(c.running), 0)::bigint, coalesce(sum(c.dead), 0)::bigint,
      coalesce((extract(epoch from now() - min(c.oldest)) * 1000)::bigint, 0)
    from triggerfs.teams t cross join lateral (select
      (select count(*) from triggerfs.queue_items i where i.team_id = t.id and i.state = 'queued') as queued,
      (select count(*) from triggerfs.queue_items i where i.team_id = t.id and i.state = 'running') as running,
      (select count(*) from triggerfs.queue_items i where i.team_id = t.id and i.state = 'dead') as dead,
      (select min(f.due_at) from (select i.due_at from triggerfs.queue_items i where i.team_id = t.id and i.state = 'queued' order by i.id limit 1000) f
        where f.due_at <= now()) as oldest) c;
end $$;

-- Hourly: forgets up to `batch` items that ended long ago (a week; dead letters a month), and gives items a job whose job is lost. In steps,
-- because what one statement cannot delete within its time limit would be there for ever. Returns both numbers.
create function triggerfs.queue_repair(batch integer) returns table (forgotten bigint, repaired bigint)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  lost uuid[];
  gone bigint;
begin
  -- Ids begin with the time, so that only old rows are looked at.
  delete from triggerfs.queue_items i where i.id in (
    select o.id from triggerfs.queue_items o where o.id < overlay(triggerfs.uuid_v7()::text placing
        lpad(to_hex((extract(epoch from now() - interval '7 days') * 1000)::bigint >> 16), 8, '0') from 1 for 8)::uuid
      and o.ended_at < now() - case when o.state in ('dead', 'expired') then interval '30 days' else interval '7 days' end
      limit batch);
  get diagnostics gone = row_count;
  delete from triggerfs.queue_callbacks c where c.created_at < now() - interval '30 days';
  delete from triggerfs.queue_holds h where h.held_until < now() - interval '1 day';
  select array_agg(i.id) into lost from triggerfs.queue_items i
    where i.state in ('queued', 'running') and i.parked <> 1 and coalesce(i.started_at, i.accepted_at) < now() - interval '5 minutes'
      and not exists (select from pgboss.job j where j.name = 'invocations' and j.id = i.id);
  perform triggerfs.queue_jobs(lost);
  return query select gone, coalesce(cardinality(lost), 0)::bigint;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.queue_cancel(integer, uuid), triggerfs.queue_redrive(integer, uuid[]) to triggerfs_app;
grant execute on function triggerfs.queue_sweep(), triggerfs.queue_repair(integer) to triggerfs_jobs;
