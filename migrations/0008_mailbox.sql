-- Mailboxes: one for each team and one for each user. Who has read a letter is kept per reader, so that
-- one member's reading does not hide a team's letter from the others.

-- The user a transaction acts for, set by the control-plane (`set_config('app.user', id, true)`), empty otherwise.
create function triggerfs.current_account() returns integer
  language sql stable parallel safe
  return nullif(current_setting('app.user', true), '')::integer;

create table triggerfs.mails (
  id integer generated always as identity primary key,
  team_id integer references triggerfs.teams on delete cascade,
  user_id integer references triggerfs.users on delete cascade,
  kind text not null check (kind ~ '^[a-z][a-z-]{0,30}$'),
  subject text not null check (length(subject) between 1 and 200),
  body text not null default '' check (length(body) <= 10000),
  created_at timestamptz(3) not null default now(),
  check (num_nonnulls(team_id, user_id) = 1)
);
create index mails_team on triggerfs.mails (team_id, id) where team_id is not null;
create index mails_user on triggerfs.mails (user_id, id) where user_id is not null;
create index mails_age on triggerfs.mails (created_at);

create table triggerfs.mail_reads (
  mail_id integer not null references triggerfs.mails on delete cascade,
  user_id integer not null references triggerfs.users on delete cascade,
  read_at timestamptz(3) not null default now(),
  primary key (mail_id, user_id)
);

alter table triggerfs.mails enable row level security;
alter table triggerfs.mails force row level security;
create policy own_mail on triggerfs.mails for select to triggerfs_app
  using (team_id = (select triggerfs.current_team()) or user_id = (select triggerfs.current_account()));
create policy owner_all on triggerfs.mails to current_user using (true) with check (true);
alter table triggerfs.mail_reads enable row level security;
alter table triggerfs.mail_reads force row level security;
create policy own_reads on triggerfs.mail_reads to triggerfs_app
  using (user_id = (select triggerfs.current_account())) with check (user_id = (select triggerfs.current_account()));
create policy owner_all on triggerfs.mail_reads to current_user using (true) with check (true);
grant select on triggerfs.mails to triggerfs_app;
grant select, insert on triggerfs.mail_reads to triggerfs_app;

-- Puts a letter into one mailbox; the other argument is null. Part of the sender's transaction.
create function triggerfs.send_mail(to_team integer, to_user integer, mail_kind text, mail_subject text, mail_body text) returns integer
  language sql security definer set search_path = triggerfs, pg_temp as $$
  insert into triggerfs.mails (team_id, user_id, kind, subject, body) values (to_team, to_user, mail_kind, left(mail_subject, 200), left(mail_body, 10000))
    returning id
$$;

-- Letters that a user has not read: their own, and those of a team since they joined it (null: of no team).
create function triggerfs.unread_mails(account integer, team integer) returns integer
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select count(*)::integer from triggerfs.mails l
    left join triggerfs.memberships m on m.team_id = l.team_id and m.user_id = account
    where (l.user_id = account or (l.team_id = team and l.created_at >= m.created_at))
      and not exists (select from triggerfs.mail_reads r where r.mail_id = l.id and r.user_id = account)
$$;

-- Which workers a team was told about. `away` becomes `lost`, and a letter, when it lasts.
create table triggerfs.worker_watch (
  worker_id integer primary key references triggerfs.workers (id) on delete cascade,
  team_id integer not null,
  state text not null check (state in ('online', 'away', 'lost')),
  since timestamptz(3) not null default now()
);
alter table triggerfs.worker_watch enable row level security;
alter table triggerfs.worker_watch force row level security;
create policy team_only on triggerfs.worker_watch for select to triggerfs_app using (team_id = (select triggerfs.current_team()));
create policy owner_all on triggerfs.worker_watch to current_user using (true) with check (true);
grant select on triggerfs.worker_watch to triggerfs_app;

-- Compares the presence of workers with what the teams know, and writes one letter per team for all that were lost and one for
-- all that are back. Short absences stay unmentioned. Of several callers at once one works. Returns the number of letters.
create function triggerfs.watch_workers(patience interval) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  letters integer;
begin
  if not pg_try_advisory_xact_lock(7420318655) then
    return 0;
  end if;
  with seen as (
    select w.id, w.team_id, w.identity, k.state as known,
      case
        when exists (select from triggerfs.presence p join triggerfs.brokers b on b.id = p.broker_id
          where p.worker_id = w.id and b.state <> 'down' and b.beat_at > now() - interval '30 s') then 'online'
        when k.state = 'online' then 'away'
        when k.state = 'away' and k.since <= now() - patience then 'lost'
        else k.state
      end as state
    from triggerfs.workers w left join triggerfs.worker_watch k on k.worker_id = w.id
  ), noted as (
    insert into triggerfs.worker_watch as k (worker_id, team_id, state)
      select id, team_id, state from seen where state is distinct from known
      on conflict (worker_id) do update set state = excluded.state, since = now()
  ), news as (
    select team_id, state = 'lost' as lost, count(*) as workers, string_agg(identity, ', ' order by lower(identity)) as names
    from seen where (state = 'lost' and known = 'away') or (state = 'online' and known = 'lost') group by team_id, state
  )
  select count(triggerfs.send_mail(team_id, null, 'worker',
      case when workers = 1 then format('Worker %s is %s', names, case when lost then 'lost' else 'back' end)
        else format('%s workers are %s', workers, case when lost then 'lost' else 'back' end) end,
      case when lost then format('No connection for more than %s s: %s.', extract(epoch from patience)::integer, names)
        else format('Connected again: %s.', names) end))::integer
    into letters from news;
  return letters;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on all functions in schema triggerfs to triggerfs_app;
grant execute on function triggerfs.send_mail(integer, integer, text, text, text), triggerfs.watch_workers(interval) to triggerfs_jobs;
grant select (id, created_at), delete on triggerfs.mails to triggerfs_jobs;
create policy jobs_sweep on triggerfs.mails to triggerfs_jobs using (true);
