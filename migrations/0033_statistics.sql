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

call triggerfs.isolate_teams('statistics');
grant select on triggerfs.statistics to triggerfs_app;

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

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.roll_up_hour(timestamptz), triggerfs.sweep_statistics() to triggerfs_jobs;
