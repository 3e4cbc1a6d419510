-- Reading the history: indexes of its lists, how long a team keeps it, hourly statistics, rotation of data keys.

-- Every list is newest first and names the team. What went well is the rule, so the index on the rest stays small.
create index invocations_service on triggerfs.invocations (team_id, service, accepted_at desc, id);
create index invocations_trigger on triggerfs.invocations (team_id, trigger_id, accepted_at desc, id) where trigger_id is not null;
create index invocations_not_ok on triggerfs.invocations (team_id, accepted_at desc, id) where verdict is distinct from 'ok';
create index runs_worker on triggerfs.runs (team_id, identity, day, invocation_id);
-- Costs writers nearly nothing, and finds the pages of an hour.
create index invocations_ended on triggerfs.invocations using brin (ended_at) with (pages_per_range = 32);

-- Names of local services that are no more: what they ran until then is still their owner's alone.
create table triggerfs.gone_services (
  id integer generated always as identity primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  name text not null,
  owner_id integer references triggerfs.users on delete set null,
  gone_at timestamptz(3) not null default now()
);
create index gone_services_team on triggerfs.gone_services (team_id);

create function triggerfs.remember_local_service() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  if tg_op = 'UPDATE' and lower(new.name) = lower(old.name) then
    return null;
  end if;
  -- A team that is deleted takes its history along.
  insert into triggerfs.gone_services (team_id, name, owner_id)
    select old.team_id, lower(old.name), u.id from triggerfs.teams t left join triggerfs.users u on u.id = old.owner_id where t.id = old.team_id;
  return null;
end $$;
create trigger services_gone after delete or update of name on triggerfs.services
  for each row when (old.visibility = 'local') execute function triggerfs.remember_local_service();

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

-- Invocations by service and the hour in which they ended. Kept longer than the history itself.
create table triggerfs.statistics (
  team_id integer not null references triggerfs.teams on delete cascade,
  hour timestamptz(3) not null,
  service text not null,
  count integer not null,
  -- Verdicts other than ok and cancelled.
  failures integer not null,
  -- From the acceptance to the end.
  p50_ms real not null,
  p95_ms real not null,
  primary key (team_id, hour, service)
);
create index statistics_hour on triggerfs.statistics using brin (hour);
-- Hours before this one were added up.
create table triggerfs.statistics_progress (
  only_one boolean primary key default true check (only_one),
  until timestamptz(3) not null
);
insert into triggerfs.statistics_progress (until) values (date_trunc('hour', now(), 'UTC'));
grant select on triggerfs.statistics_progress to triggerfs_app;

-- Adds up one hour, again if need be: brokers that were cut off write late.
create function triggerfs.roll_up_hour(wanted timestamptz) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  hours integer;
begin
  -- An invocation runs for a week at most, and its day is that of its id.
  insert into triggerfs.statistics as s (team_id, hour, service, count, failures, p50_ms, p95_ms)
    select i.team_id, wanted, i.service, count(*), count(*) filter (where i.verdict not in ('ok', 'cancelled')),
        percentile_cont(0.5) within group (order by extract(epoch from i.ended_at - i.accepted_at)::float8 * 1000),
        percentile_cont(0.95) within group (order by extract(epoch from i.ended_at - i.accepted_at)::float8 * 1000)
      from triggerfs.invocations i join triggerfs.teams t on t.id = i.team_id
      where i.ended_at >= wanted and i.ended_at < wanted + interval '1 hour' and i.verdict is not null
        and i.day between (wanted at time zone 'UTC')::date - 9 and (wanted at time zone 'UTC')::date + 2
      group by i.team_id, i.service
    on conflict (team_id, hour, service) do update set count = excluded.count, failures = excluded.failures, p50_ms = excluded.p50_ms, p95_ms = excluded.p95_ms;
  get diagnostics hours = row_count;
  update triggerfs.statistics_progress set until = wanted + interval '1 hour' where until < wanted + interval '1 hour';
  return hours;
end $$;

create function triggerfs.sweep_statistics() returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  swept integer;
begin
  delete from triggerfs.statistics where hour < now() - interval '400 days';
  get diagnostics swept = row_count;
  delete from triggerfs.gone_services where gone_at < now() - interval '3660 days';
  return swept;
end $$;

do $$
declare
  t text;
begin
  foreach t in array array['gone_services', 'statistics'] loop
    execute format('alter table triggerfs.%I enable row level security', t);
    execute format('alter table triggerfs.%I force row level security', t);
    execute format('create policy team_only on triggerfs.%I for select to triggerfs_app using (team_id = (select triggerfs.current_team()))', t);
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
    execute format('grant select on triggerfs.%I to triggerfs_app', t);
  end loop;
end $$;

-- The data key that something was sealed with (runtime/sealing/seal.ts): it stands behind two bytes, little endian.
create function triggerfs.sealing_key(sealed bytea) returns integer
  language sql immutable strict parallel safe
  return get_byte(sealed, 2) | (get_byte(sealed, 3) << 8) | (get_byte(sealed, 4) << 16) | (get_byte(sealed, 5) << 24);

-- Keys of the teams that something kept outside of the history is sealed with.
create view triggerfs.keys_in_use as
  select r.team_id, triggerfs.sealing_key(r.word) as id from triggerfs.redactions r
  union all select s.team_id, triggerfs.sealing_key(s.sealed) from triggerfs.hook_secrets s
  union all select s.team_id, triggerfs.sealing_key(s.secret) from triggerfs.queue_secrets s
  union all select c.team_id, triggerfs.sealing_key(c.body) from triggerfs.queue_callbacks c
  union all select i.team_id, triggerfs.sealing_key(i.payload) from triggerfs.queue_items i where i.sealed and i.payload is not null
  union all select i.team_id, triggerfs.sealing_key(i.answer) from triggerfs.queue_items i where i.answer is not null;

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
revoke execute on function triggerfs.remember_local_service(), triggerfs.history_retention(), triggerfs.teams_past_retention(date),
  triggerfs.delete_history(integer, date, integer), triggerfs.roll_up_hour(timestamptz), triggerfs.sweep_statistics(),
  triggerfs.sealing_key(bytea), triggerfs.rotate_team_keys(integer), triggerfs.delete_team_keys() from public;
grant execute on function triggerfs.history_retention(), triggerfs.teams_past_retention(date), triggerfs.delete_history(integer, date, integer),
  triggerfs.roll_up_hour(timestamptz), triggerfs.sweep_statistics(), triggerfs.rotate_team_keys(integer), triggerfs.delete_team_keys()
  to triggerfs_jobs;

-- What is new for those who follow invocations, of all teams in one statement. A place is a team, an id, a worker in lower case (null: all) and the first and last
-- day to look at; `runs` say which block is next (place, worker, attempt, block), 0 for those not named. Each place has a row without a block, with the
-- number of runs that have ended and whether it was found and has ended (one that is not found may have ended in the queue); the blocks come in separate rows, at most `per_run` of a run
-- and `at_most` in all, the first places first.
create function triggerfs.followed_history(teams integer[], ids uuid[], workers text[], first_days date[], last_days date[],
    run_places integer[], run_workers integer[], run_attempts integer[], run_blocks integer[], per_run integer, at_most integer)
  returns table (place integer, ended integer, found boolean, done boolean, worker_id integer, worker text, attempt integer,
    block integer, at timestamptz, gap boolean, data bytea)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  with w as (
    select w.n::integer as n, w.team, w.id, w.worker, w.first_day, w.last_day
      from unnest(teams, ids, workers, first_days, last_days) with ordinality w (team, id, worker, first_day, last_day, n)
  ), r as materialized (
    select w.n, w.team, r.day, r.invocation_id, r.worker_id, r.identity, r.attempt, r.verdict, coalesce(p.block, 0) as next
      from w join triggerfs.runs r on r.invocation_id = w.id and r.day between w.first_day and w.last_day and r.team_id = w.team
        and (w.worker is null or lower(r.identity) = w.worker)
      left join unnest(run_places, run_workers, run_attempts, run_blocks) p (place, worker, attempt, block)
        on p.place = w.n and p.worker = r.worker_id and p.attempt = r.attempt
  )
  select w.n, (select count(*)::integer from r where r.n = w.n and r.verdict is not null), i.id is not null,
      case when i.id is not null then i.verdict is not null else coalesce(q.ended_at is not null, false) end,
      null::integer, null::text, null::integer, null::integer, null::timestamptz, null::boolean, null::bytea
    from w left join lateral (
      select i.id, i.verdict from triggerfs.invocations i where i.id = w.id and i.day between w.first_day and w.last_day and i.team_id = w.team limit 1
    ) i on true
    left join triggerfs.queue_items q on i.id is null and q.id = w.id and q.team_id = w.team
  union all (
    select r.n, null, null, null, r.worker_id, r.identity, r.attempt, o.block, o.at, o.gap, o.data
      from r cross join lateral (
        select o.block, o.at, o.gap, o.data from triggerfs.outputs o
          where o.invocation_id = r.invocation_id and o.day = r.day and o.worker_id = r.worker_id and o.attempt = r.attempt
            and o.team_id = r.team and o.block >= r.next
          order by o.block limit per_run) o
      order by r.n, o.at, r.worker_id, r.attempt, o.block limit at_most)
$$;
revoke execute on function triggerfs.followed_history(integer[], uuid[], text[], date[], date[], integer[], integer[], integer[], integer[], integer, integer) from public;
grant execute on function triggerfs.followed_history(integer[], uuid[], text[], date[], date[], integer[], integer[], integer[], integer[], integer, integer) to triggerfs_app;
