-- The queue forgets in steps: what one statement cannot delete within its time limit would be there for ever.

drop function triggerfs.queue_repair();

-- Hourly, as in 0016, but in steps: forgets up to `batch` items that ended long ago (a week; dead letters a month), and gives items a job
-- whose job is lost. Returns both numbers.
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

revoke execute on function triggerfs.queue_repair(integer) from public;
grant execute on function triggerfs.queue_repair(integer) to triggerfs_jobs;
