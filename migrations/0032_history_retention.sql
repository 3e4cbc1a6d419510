-- How long history stays, and the keys with it.

-- For how many days a team keeps its history; the operator may set another number for one team.
alter table triggerfs.plans add column history_days integer not null default 30 check (history_days between 1 and 3650);
update triggerfs.plans set history_days = case name when 'free' then 1 when 'basic' then 7 else 30 end;
alter table triggerfs.teams add column history_days integer check (history_days between 1 and 3650);

create function triggerfs.history_retention() returns table (team_id integer, days integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, coalesce(t.history_days, p.history_days) from triggerfs.teams t join triggerfs.plans p on p.name = t.plan
$$;

-- Teams that have rows on a day, and do not keep it: their time is over, or they are gone. Jumps from team to team in the index.
create function triggerfs.teams_past_retention(d date) returns setof integer
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  with recursive found as (
    select (select min(i.team_id) from triggerfs.invocations i where i.day = d) as team
    union all
    select (select min(i.team_id) from triggerfs.invocations i where i.day = d and i.team_id > found.team) from found where found.team is not null
  )
  select found.team from found left join triggerfs.history_retention() r on r.team_id = found.team
    where found.team is not null and (r.days is null or d < (now() at time zone 'UTC')::date - r.days)
$$;

-- Deletes up to `batch` invocations of a team and day with their runs and output; returns how many there were.
create function triggerfs.delete_history(team integer, d date, batch integer) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  ids uuid[];
begin
  ids := array(select i.id from triggerfs.invocations i where i.day = d and i.team_id = team limit batch);
  delete from triggerfs.outputs o where o.day = d and o.team_id = team and o.invocation_id = any(ids);
  delete from triggerfs.runs r where r.day = d and r.team_id = team and r.invocation_id = any(ids);
  delete from triggerfs.invocations i where i.day = d and i.team_id = team and i.id = any(ids);
  return cardinality(ids);
end $$;

-- The data key that something was sealed with (runtime/sealing/seal.ts): it stands behind two bytes, little endian.
create function triggerfs.sealing_key(sealed bytea) returns integer
  language sql immutable strict parallel safe
  return get_byte(sealed, 2) | (get_byte(sealed, 3) << 8) | (get_byte(sealed, 4) << 16) | (get_byte(sealed, 5) << 24);

-- Keys of the teams that something kept outside of the history is sealed with. Of what is large only the beginning is read.
create view triggerfs.keys_in_use as
  select r.team_id, triggerfs.sealing_key(r.word) as id from triggerfs.redactions r
  union all select s.team_id, triggerfs.sealing_key(s.sealed) from triggerfs.hook_secrets s
  union all select s.team_id, triggerfs.sealing_key(s.secret) from triggerfs.queue_secrets s
  union all select c.team_id, triggerfs.sealing_key(substring(c.body from 1 for 6)) from triggerfs.queue_callbacks c
  union all select i.team_id, triggerfs.sealing_key(substring(i.payload from 1 for 6)) from triggerfs.queue_items i where i.sealed and i.payload is not null
  union all select i.team_id, triggerfs.sealing_key(substring(i.answer from 1 for 6)) from triggerfs.queue_items i where i.answer is not null;

-- Retires data keys that are older than so many days, so that what comes next is sealed with a new one.
create function triggerfs.rotate_team_keys(days integer) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  retired integer;
begin
  update triggerfs.team_keys set retired_at = now() where retired_at is null and created_at < now() - days * interval '1 day';
  get diagnostics retired = row_count;
  return retired;
end $$;

-- Deletes retired keys that nothing can be sealed with any more: every day that they were used on is dropped, and nothing else uses
-- them. What is left in backups of those days cannot be read from then on.
create function triggerfs.delete_team_keys() returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  deleted integer;
  oldest date := (select min(d.day) from triggerfs.history_days() d);
begin
  -- Processes use a retired key for up to a minute, and blocks wait in their memory for as long as the database is away.
  delete from triggerfs.team_keys k
    where k.retired_at < least(oldest - 2, now() - interval '2 days')
      and not exists (select from triggerfs.keys_in_use u where u.team_id = k.team_id and u.id = k.id);
  get diagnostics deleted = row_count;
  return deleted;
end $$;

revoke all on triggerfs.keys_in_use from public;
revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.history_retention(), triggerfs.teams_past_retention(date), triggerfs.delete_history(integer, date, integer),
  triggerfs.rotate_team_keys(integer), triggerfs.delete_team_keys() to triggerfs_jobs;
