-- Letters about what went wrong: slots that were missed, dead letters, services that fail again and again, queues that stand,
-- history that is about to be dropped. (Lost workers: watch_workers.) A trouble is told once, its end once; what goes on is told again
-- after a while, with the number of times since then, so that a bad night fills no mailbox.
create table triggerfs.alerts (
  team_id integer not null references triggerfs.teams on delete cascade,
  kind text not null check (kind in ('missed', 'dead-letter', 'failures', 'queue', 'retention')),
  -- Name of the schedule or service.
  about text not null,
  raised_at timestamptz(3) not null default now(),
  told_at timestamptz(3),
  -- Times that no letter told yet, and the last reason.
  untold bigint not null default 0,
  reason text not null default '',
  primary key (team_id, kind, about)
);

call triggerfs.isolate_teams('alerts');
grant select on triggerfs.alerts to triggerfs_app;

-- What ended before this moment was looked at.
create table triggerfs.alerts_progress (
  only_one boolean primary key default true check (only_one),
  until timestamptz(3) not null default now()
);
insert into triggerfs.alerts_progress default values;

-- Sends a letter about a service to the team, or to its owner alone where the service is local.
create function triggerfs.send_alert(team integer, service text, kind text, subject text, body text) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  local_owner integer := (select s.owner_id from triggerfs.services s
    where s.team_id = team and lower(s.name) = lower(service) and s.visibility = 'local');
begin
  perform triggerfs.send_mail(case when local_owner is null then team end, local_owner, kind, subject, body);
end $$;

-- Slots missed and letters that died since the last look: counted by schedule and service, told at most once an hour each.
create function triggerfs.watch_losses(since timestamptz, until timestamptz) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  told record;
  letters integer := 0;
begin
  insert into triggerfs.alerts as a (team_id, kind, about, untold, reason)
    select f.team_id, 'missed', s.name, count(*), (array_agg(f.reason order by f.due_at desc))[1]
      from triggerfs.schedule_fires f join triggerfs.schedules s on s.team_id = f.team_id and s.id = f.schedule_id
      where f.outcome = 'missed' and f.fired_at > since and f.fired_at <= until group by f.team_id, s.name
    union all
    select i.team_id, 'dead-letter', i.service, count(*), (array_agg(coalesce(nullif(i.detail, ''), i.error, i.verdict, i.state) order by i.ended_at desc))[1]
      from triggerfs.queue_items i where i.state in ('dead', 'expired') and i.ended_at > since and i.ended_at <= until group by i.team_id, i.service
    on conflict (team_id, kind, about) do update set untold = a.untold + excluded.untold, reason = excluded.reason;
  for told in
    update triggerfs.alerts a set told_at = now(), untold = 0 from triggerfs.alerts b
      where (b.team_id, b.kind, b.about) = (a.team_id, a.kind, a.about) and a.kind in ('missed', 'dead-letter')
        and a.untold > 0 and (a.told_at is null or a.told_at <= now() - interval '1 hour')
      returning a.team_id, a.kind, a.about, b.untold as times, a.reason
  loop
    letters := letters + 1;
    if told.kind = 'missed' then
      perform triggerfs.send_mail(told.team_id, null, 'missed', format('Schedule %s missed %s', told.about, case when told.times = 1 then 'a slot' else told.times || ' slots' end),
        format(E'Nothing was run for %s.\nReason of the last one: %s\nSee: show schedules %s', case when told.times = 1 then 'this slot' else 'these slots' end,
          coalesce(nullif(told.reason, ''), 'the time had passed'), told.about));
    else
      perform triggerfs.send_alert(told.team_id, told.about, 'dead-letter',
        format('%s of service %s died', case when told.times = 1 then 'An accepted invocation' else told.times || ' accepted invocations' end, told.about),
        format(E'They ended without success and are kept.\nReason of the last one: %s\nSee: show queue dead; to run them again: request queue redrive service %s', told.reason, told.about));
    end if;
  end loop;
  delete from triggerfs.alerts a where a.kind in ('missed', 'dead-letter') and a.untold = 0 and a.told_at <= now() - interval '1 hour';
  return letters;
end $$;

-- Services whose last five invocations failed, and that work again since.
create function triggerfs.watch_failures() returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  told record;
  letters integer := 0;
  today constant date := (now() at time zone 'UTC')::date;
begin
  for told in
    with failing as (
      select distinct i.team_id, i.service from triggerfs.invocations i
        where i.day >= today - 1 and i.accepted_at > now() - interval '15 minutes' and i.verdict is distinct from 'ok'
          and i.verdict is not null and i.verdict <> 'cancelled'
    ), news as (
      select f.team_id, f.service, l.verdict, l.reason from failing f cross join lateral (
        select (array_agg(n.verdict order by n.accepted_at desc))[1] as verdict,
            (array_agg(coalesce(nullif(n.detail, ''), 'exit code ' || n.exit_code) order by n.accepted_at desc))[1] as reason
          from (select i.verdict, i.detail, i.exit_code, i.accepted_at from triggerfs.invocations i
            where i.day >= today - 1 and i.team_id = f.team_id and i.service = f.service and i.verdict is not null and i.verdict <> 'cancelled'
            order by i.accepted_at desc, i.id limit 5) n
          having count(*) = 5 and bool_and(n.verdict <> 'ok')) l
    )
    insert into triggerfs.alerts as a (team_id, kind, about, told_at, reason)
      select n.team_id, 'failures', n.service, now(), format('%s: %s', n.verdict, n.reason) from news n join triggerfs.teams t on t.id = n.team_id
      on conflict (team_id, kind, about) do update set told_at = now(), reason = excluded.reason where a.told_at <= now() - interval '1 day'
      returning a.team_id, a.about, a.reason
  loop
    letters := letters + 1;
    perform triggerfs.send_alert(told.team_id, told.about, 'failures', format('Service %s fails again and again', told.about),
      format(E'Its last five invocations failed. The last one: %s\nSee: show history service %s', told.reason, told.about));
  end loop;
  for told in
    delete from triggerfs.alerts a where a.kind = 'failures' and 'ok' = (
        select i.verdict from triggerfs.invocations i
          where i.day >= today - 1 and i.team_id = a.team_id and i.service = a.about and i.verdict is not null and i.verdict <> 'cancelled'
          order by i.accepted_at desc, i.id limit 1)
      returning a.team_id, a.about, a.raised_at
  loop
    letters := letters + 1;
    perform triggerfs.send_alert(told.team_id, told.about, 'failures', format('Service %s works again', told.about),
      format('It had failed since %s UTC.', to_char(told.raised_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')));
  end loop;
  -- Nothing was heard of it for a day: that is no trouble any more.
  delete from triggerfs.alerts a where a.kind = 'failures' and a.told_at <= now() - interval '2 days';
  return letters;
end $$;

-- Queues with items that have been due for longer than `patience`.
create function triggerfs.standing_queues(patience interval) returns table (team_id integer, service_key text, service text, items bigint)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, q.service_key, min(q.service), count(*)
    from triggerfs.teams t join triggerfs.queue_items q on q.team_id = t.id and q.state = 'queued' and q.due_at < now() - patience
    group by t.id, q.service_key
$$;

-- A queue that stands is told; over when nothing waits for more than a fifth of that time.
create function triggerfs.watch_queues(patience interval) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  told record;
  letters integer := 0;
begin
  for told in
    insert into triggerfs.alerts as a (team_id, kind, about, told_at, untold)
      select w.team_id, 'queue', w.service, now(), w.items from triggerfs.standing_queues(patience) w
      on conflict (team_id, kind, about) do update set told_at = now(), untold = excluded.untold where a.told_at <= now() - interval '1 day'
      returning a.team_id, a.about, a.untold as items
  loop
    letters := letters + 1;
    perform triggerfs.send_alert(told.team_id, told.about, 'queue', format('The queue of service %s grows', told.about),
      format(E'%s due for more than %s minutes. Is a worker online, and are there enough of them?\nSee: show queue, show workers',
        case when told.items = 1 then 'One invocation has been' else told.items || ' invocations have been' end,
        round(extract(epoch from patience) / 60)));
  end loop;
  for told in
    delete from triggerfs.alerts a where a.kind = 'queue'
      and not exists (select from triggerfs.standing_queues(patience / 5) w where w.team_id = a.team_id and w.service_key = lower(a.about))
      returning a.team_id, a.about
  loop
    letters := letters + 1;
    perform triggerfs.send_alert(told.team_id, told.about, 'queue', format('The queue of service %s is short again', told.about), 'Nothing waits for long any more.');
  end loop;
  return letters;
end $$;

-- Teams whose oldest history is dropped within the next day; told once in thirty days.
create function triggerfs.watch_retention() returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  told record;
  letters integer := 0;
begin
  for told in
    insert into triggerfs.alerts as a (team_id, kind, about, told_at)
      select r.team_id, 'retention', '', now() from triggerfs.history_retention() r
        where exists (select from triggerfs.invocations i where i.team_id = r.team_id and i.day = (now() at time zone 'UTC')::date - r.days)
      on conflict (team_id, kind, about) do update set told_at = now() where a.told_at <= now() - interval '30 days'
      returning a.team_id, (select r.days from triggerfs.history_retention() r where r.team_id = a.team_id) as days
  loop
    letters := letters + 1;
    perform triggerfs.send_mail(told.team_id, null, 'retention',
      format('History of %s is about to be dropped', to_char((now() at time zone 'UTC')::date - told.days, 'YYYY-MM-DD')),
      format(E'This team keeps its history for %s. Each day the oldest one goes; this letter comes once in thirty days.\nWhat must stay longer can be fetched now. See: show history',
        case when told.days = 1 then 'one day' else told.days || ' days' end));
  end loop;
  return letters;
end $$;

-- All of it. Of several callers at once one works. Returns the number of letters.
create function triggerfs.watch_troubles(patience interval default '5 minutes') returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  first_moment timestamptz;
  -- What is being committed in this moment is seen next time.
  last_moment constant timestamptz := now() - interval '2 s';
  letters integer;
begin
  if not pg_try_advisory_xact_lock(7420318657) then
    return 0;
  end if;
  select p.until into first_moment from triggerfs.alerts_progress p;
  letters := triggerfs.watch_losses(first_moment, last_moment) + triggerfs.watch_failures() + triggerfs.watch_queues(patience) + triggerfs.watch_retention();
  update triggerfs.alerts_progress p set until = last_moment where p.until < last_moment;
  return letters;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.watch_troubles(interval) to triggerfs_jobs;
