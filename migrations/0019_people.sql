-- People, continued: mails that wait for the mail server, the end of an account, and the turns of brokers in maintenance.

-- A mail to send: the code or a word about the address of someone who signs up, or an invitation. Neither text nor code is kept;
-- both are made when it is sent, from what is true then.
create table triggerfs.outgoing_mails (
  id integer generated always as identity primary key,
  team_id integer,
  user_id integer references triggerfs.users on delete cascade,
  invite_id integer,
  state text not null default 'waiting' check (state in ('waiting', 'dead')),
  tries integer not null default 0,
  next_at timestamptz(3) not null default now(),
  -- What the mail server said last.
  error text not null default '' check (length(error) <= 500),
  created_at timestamptz(3) not null default now(),
  foreign key (team_id, invite_id) references triggerfs.invites (team_id, id) on delete cascade,
  check (num_nonnulls(user_id, invite_id) = 1),
  check ((team_id is null) = (invite_id is null))
);
-- Whoever asks twice while a mail waits gets it once.
create unique index outgoing_mails_user on triggerfs.outgoing_mails (user_id) where state = 'waiting';
create unique index outgoing_mails_invite on triggerfs.outgoing_mails (team_id, invite_id) where state = 'waiting';
create index outgoing_mails_next on triggerfs.outgoing_mails (next_at) where state = 'waiting';
alter table triggerfs.outgoing_mails enable row level security;
alter table triggerfs.outgoing_mails force row level security;
create policy team_only on triggerfs.outgoing_mails to triggerfs_app
  using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()));
create policy owner_all on triggerfs.outgoing_mails to current_user using (true) with check (true);

-- Has a mail looked at at a time. graphile-worker may answer without a job when another session holds the one that is replaced.
create function triggerfs.wake_mail(mail integer, at timestamptz) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  job bigint;
begin
  for i in 1..20 loop
    select j.id into job from graphile_worker.add_job('send_mail', json_build_object('id', mail), run_at := at, max_attempts := 3,
      job_key := 'mail:' || mail) j;
    exit when job is not null;
  end loop;
end $$;

-- Puts a mail on its way: to an account that waits for its code, or of an invitation (the other argument is null).
create function triggerfs.queue_mail(account integer, invite integer) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  mail integer;
begin
  insert into triggerfs.outgoing_mails (team_id, user_id, invite_id)
    values ((select i.team_id from triggerfs.invites i where i.id = invite), account, invite)
    on conflict do nothing returning id into mail;
  if mail is null then
    update triggerfs.outgoing_mails m set tries = 0, next_at = now()
      where m.state = 'waiting' and (m.user_id = account or m.invite_id = invite) returning m.id into mail;
  end if;
  perform triggerfs.wake_mail(mail, now());
end $$;

-- Takes a mail to send it now, with the hash of a fresh code in case it brings one. Whoever takes it and is not heard of again has it
-- taken by another a minute later. No row: it is not its time, or there is nobody left to send it to.
create function triggerfs.take_mail(mail integer, hash bytea)
  returns table (kind text, recipient text, identity text, team text, role text, invited_by text, has_account boolean)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  wanted record;
begin
  update triggerfs.outgoing_mails m set tries = m.tries + 1, next_at = now() + interval '1 minute'
    where m.id = mail and m.state = 'waiting' and m.next_at <= now() + interval '100 ms' returning * into wanted;
  if wanted.id is null then
    return;
  end if;
  perform triggerfs.wake_mail(mail, wanted.next_at);
  if wanted.invite_id is not null then
    return query select 'invite', coalesce(i.email, u.email), coalesce(u.identity, ''), t.name, i.role, h.identity,
        i.user_id is not null or exists (select from triggerfs.users k where k.signed_up and lower(k.email) = lower(i.email))
      from triggerfs.invites i
      join triggerfs.teams t on t.id = i.team_id
      join triggerfs.users h on h.id = i.invited_by
      left join triggerfs.users u on u.id = i.user_id and u.signed_up
      where i.team_id = wanted.team_id and i.id = wanted.invite_id and coalesce(i.email, u.email) is not null;
  else
    return query update triggerfs.activations a
      set code_hash = hash, tries = 0, expires_at = now() + interval '24 hours'
      from triggerfs.users u where u.id = a.user_id and a.user_id = wanted.user_id and a.code_hash is not null
      returning 'activation', a.email, u.identity, '', '', '', true;
    if not found then
      return query select 'known-address', a.email, h.identity, '', '', '', true
        from triggerfs.activations a join triggerfs.users h on h.signed_up and lower(h.email) = lower(a.email)
        where a.user_id = wanted.user_id and a.code_hash is null;
    end if;
  end if;
  if not found then
    perform triggerfs.settle_mail(mail, null);
  end if;
end $$;

-- Notes how sending went; a null problem is success. What fails is tried again after 5 s, 15 s, 45 s, ... up to an hour, twelve times in
-- all; then whoever invited and the operators find a letter in their mailbox. Returns 'sent', 'waiting' or 'dead'.
create function triggerfs.settle_mail(mail integer, problem text) returns text
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  settled record;
begin
  if problem is null then
    delete from triggerfs.outgoing_mails where id = mail;
    perform graphile_worker.remove_job('mail:' || mail);
    return 'sent';
  end if;
  update triggerfs.outgoing_mails m
    set error = left(problem, 500), state = case when m.tries >= 12 then 'dead' else 'waiting' end,
      next_at = now() + least(interval '5 s' * 3 ^ (m.tries - 1), interval '1 hour')
    where m.id = mail and m.state = 'waiting' returning * into settled;
  if settled.id is null then
    return 'sent';
  end if;
  if settled.state = 'waiting' then
    perform triggerfs.wake_mail(mail, settled.next_at);
    return 'waiting';
  end if;
  perform graphile_worker.remove_job('mail:' || mail);
  perform triggerfs.send_mail(null, u.id, 'mail', 'A mail could not be sent',
      format('After %s tries the %s was given up: %s', settled.tries,
        case when settled.invite_id is null then 'mail to the new account ' || coalesce((select n.identity from triggerfs.users n where n.id = settled.user_id), '')
          else 'invitation ' || settled.invite_id end, settled.error))
    from triggerfs.users u
    where u.operator or u.id = (select i.invited_by from triggerfs.invites i where i.team_id = settled.team_id and i.id = settled.invite_id);
  return 'dead';
end $$;

-- Another code for a waiting account, at most three times and once a minute. A null hash leaves the code that is there until the mail
-- with the next one is sent. Returns the account and the address to send it to, or no row.
drop function triggerfs.renew_activation(text, bytea);
create function triggerfs.renew_activation(waiting text, hash bytea) returns table (id integer, identity text, email text)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.activations a
    set code_hash = coalesce(hash, a.code_hash), tries = 0, sends = a.sends + 1, sent_at = now(), expires_at = now() + interval '24 hours'
    from triggerfs.users u
    where u.id = a.user_id and lower(u.identity) = lower(waiting) and a.code_hash is not null and a.sends < 4
      and a.sent_at < now() - interval '1 minute'
    returning u.id, u.identity, a.email
$$;

-- Opens an account with its code. A thousand tries for each code, counted also when they come at once: a guess among 2^40 codes stays
-- hopeless, and strangers cannot use up the tries of the one who waits in a moment.
create or replace function triggerfs.activate(waiting text, hash bytea) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  wanted record;
begin
  update triggerfs.activations a set tries = a.tries + 1 from triggerfs.users u
    where u.id = a.user_id and lower(u.identity) = lower(waiting) and a.expires_at > now() and a.tries < 1000
    returning a.user_id, a.email, a.code_hash into wanted;
  if wanted.code_hash is null or wanted.code_hash <> hash then
    return false;
  end if;
  if exists (select from triggerfs.users u where lower(u.email) = lower(wanted.email) and u.signed_up) then
    return false;
  end if;
  -- Whoever wrote the address down without proof gives way.
  update triggerfs.users set email = null where lower(email) = lower(wanted.email);
  update triggerfs.users set active = true, signed_up = true, email = wanted.email where id = wanted.user_id;
  delete from triggerfs.activations where user_id = wanted.user_id;
  return true;
end $$;

-- Removes what has ended by itself, and wakes mails whose job was lost.
create or replace function triggerfs.sweep_people() returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  delete from triggerfs.users u using triggerfs.activations a where a.user_id = u.id and not u.active and a.expires_at < now();
  delete from triggerfs.sessions where expires_at < now();
  delete from triggerfs.invites where expires_at < now();
  delete from triggerfs.mails where created_at < now() - interval '90 days';
  select triggerfs.wake_mail(m.id, now()) from triggerfs.outgoing_mails m where m.state = 'waiting' and m.next_at < now() - interval '1 minute';
$$;

-- Ends an account, with the teams that nobody else is in. Outcomes: 'deleted', 'wrong-password'; 'last-owner' with the teams whose
-- other members would be left without an owner; 'last-operator'.
create function triggerfs.delete_account(account integer, current_password text) returns table (outcome text, teams text)
  language plpgsql security definer set search_path = triggerfs, public, pg_temp as $$
declare
  stuck text;
begin
  perform from triggerfs.users u where u.id = account and u.secret_hash = crypt(current_password, u.secret_hash);
  if not found then
    return query select 'wrong-password', '';
    return;
  end if;
  -- Operators and owners cannot go two at once, and nobody joins a team that is about to go.
  perform from triggerfs.users u where u.operator or u.id = account order by u.id for update;
  perform from triggerfs.teams t where t.id in (select m.team_id from triggerfs.memberships m where m.user_id = account) order by t.id for update;
  select string_agg(t.name, ', ' order by lower(t.name)) into stuck
    from triggerfs.memberships m join triggerfs.teams t on t.id = m.team_id
    where m.user_id = account and m.role = 'owner'
      and exists (select from triggerfs.memberships o where o.team_id = m.team_id and o.user_id <> account)
      and not exists (select from triggerfs.memberships o where o.team_id = m.team_id and o.user_id <> account and o.role = 'owner');
  if stuck is not null then
    return query select 'last-owner', stuck;
    return;
  end if;
  if exists (select from triggerfs.users u where u.id = account and u.operator)
    and not exists (select from triggerfs.users u where u.id <> account and u.operator and u.active) then
    return query select 'last-operator', '';
    return;
  end if;
  delete from triggerfs.teams t using triggerfs.memberships m
    where m.team_id = t.id and m.user_id = account
      and not exists (select from triggerfs.memberships o where o.team_id = t.id and o.user_id <> account);
  delete from triggerfs.users u where u.id = account;
  return query select 'deleted', '';
end $$;

-- Which brokers have had their turn in maintenance; no foreign key, because a broker that is down is forgotten after a while.
create table triggerfs.maintenance_turns (
  maintenance_id integer not null references triggerfs.maintenances on delete cascade,
  broker_id uuid not null,
  region text not null,
  taken_at timestamptz(3) not null default now(),
  primary key (maintenance_id, broker_id)
);

-- Whether a broker may drain now. One of the fleet at a time: the next may when the one before has been up again for three seconds, or
-- has stayed away for two minutes. A region that had other brokers keeps one that the same workers have come to (or have had a minute
-- to come to); a broker that was alone in its region from the beginning does not wait.
create function triggerfs.take_maintenance_turn(maintenance integer, broker uuid) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  own text;
begin
  perform pg_advisory_xact_lock(7420318656);
  select b.region into own from triggerfs.brokers b where b.id = broker;
  if own is null then
    return false;
  end if;
  if exists (select from triggerfs.maintenance_turns t where t.maintenance_id = maintenance and t.broker_id = broker) then
    return true;
  end if;
  if exists (select from triggerfs.maintenance_turns t
      where t.maintenance_id = maintenance and t.taken_at > now() - interval '2 minutes'
        and not exists (select from triggerfs.brokers b where b.id = t.broker_id and b.state = 'up' and b.beat_at > now() - interval '30 s'
          and b.started_at between t.taken_at and now() - interval '3 s')) then
    return false;
  end if;
  if exists (select from triggerfs.maintenance_turns t where t.maintenance_id = maintenance and t.region = own)
    or exists (select from triggerfs.brokers o where o.id <> broker and o.region = own and o.state <> 'down' and o.beat_at > now() - interval '30 s') then
    perform from triggerfs.brokers o
      where o.id <> broker and o.region = own and o.state = 'up' and o.beat_at > now() - interval '30 s' and o.started_at < now() - interval '3 s'
        and (o.started_at < now() - interval '1 minute' or not exists (
          select from triggerfs.presence p where p.broker_id = broker
            and not exists (select from triggerfs.presence q where q.worker_id = p.worker_id and q.broker_id = o.id)));
    if not found then
      return false;
    end if;
  end if;
  insert into triggerfs.maintenance_turns (maintenance_id, broker_id, region) values (maintenance, broker, own);
  return true;
end $$;

revoke execute on function triggerfs.wake_mail(integer, timestamptz), triggerfs.queue_mail(integer, integer), triggerfs.take_mail(integer, bytea),
  triggerfs.settle_mail(integer, text), triggerfs.renew_activation(text, bytea), triggerfs.delete_account(integer, text),
  triggerfs.take_maintenance_turn(integer, uuid) from public;
grant execute on function triggerfs.queue_mail(integer, integer), triggerfs.renew_activation(text, bytea), triggerfs.delete_account(integer, text)
  to triggerfs_app;
grant execute on function triggerfs.take_mail(integer, bytea), triggerfs.settle_mail(integer, text) to triggerfs_jobs;
grant execute on function triggerfs.take_maintenance_turn(integer, uuid) to triggerfs_edge;
