-- Mails that wait for the mail server, and the codes in them that open accounts.

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

call triggerfs.isolate_teams('outgoing_mails');

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

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.queue_mail(integer, integer), triggerfs.renew_activation(text, bytea) to triggerfs_app;
grant execute on function triggerfs.take_mail(integer, bytea), triggerfs.settle_mail(integer, text) to triggerfs_jobs;
