-- Who may read what, and following what goes on.

-- Names of local services that are no more: what they ran until then is still their owner's alone.
create table triggerfs.gone_services (
  id integer generated always as identity primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  name text not null,
  owner_id integer references triggerfs.users on delete set null,
  gone_at timestamptz(3) not null default now()
);
create index gone_services_team on triggerfs.gone_services (team_id);

call triggerfs.isolate_teams('gone_services');
grant select on triggerfs.gone_services to triggerfs_app;

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

-- What is new for those who follow invocations, of all teams in one statement. A place is a team, an id, a worker in lower case (null: all) and
-- the first and last day to look at; the arrays `run_...` say which block is next of which runs, 0 for those not named. Each place has a row
-- without a block, with the number of runs that have ended and whether it was found and has ended (one that is not found may have ended in the
-- queue); the blocks come in separate rows, at most `per_run` of a run and `at_most` in all, the first places first.
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

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.followed_history(integer[], uuid[], text[], date[], date[], integer[], integer[], integer[], integer[], integer, integer) to triggerfs_app;
