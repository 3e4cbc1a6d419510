-- Accounts of people: sign-up and activation, sessions, invitations, and who operates the installation.
alter table triggerfs.users
  -- They signed up themselves: their address is proven, and the account stays when it is in no team.
  add column signed_up boolean not null default false,
  -- May announce maintenance.
  add column operator boolean not null default false;

-- Accounts that wait for their code; such an account is not active. The address is theirs only when they prove it.
create table triggerfs.activations (
  user_id integer primary key references triggerfs.users on delete cascade,
  email text not null check (length(email) <= 254),
  -- SHA-256 of the code. Null: the address belongs to another account, and no code opens this one.
  code_hash bytea check (length(code_hash) = 32),
  tries integer not null default 0,
  sends integer not null default 1,
  sent_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null default now() + interval '24 hours'
);

-- Sessions of people that can still be renewed, so that they see and end them.
create table triggerfs.sessions (
  session_id uuid primary key,
  user_id integer not null references triggerfs.users on delete cascade,
  -- Null: a session of the account alone, in no team.
  team_id integer references triggerfs.teams on delete cascade,
  address text not null,
  agent text not null check (length(agent) <= 200),
  created_at timestamptz(3) not null default now(),
  used_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null
);
create index sessions_user on triggerfs.sessions (user_id);

create table triggerfs.invites (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  -- Whom: an account, or whoever proves to have the address.
  user_id integer references triggerfs.users on delete cascade,
  email text check (length(email) <= 254),
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  invited_by integer not null,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null default now() + interval '14 days',
  primary key (team_id, id),
  unique (id),
  check (num_nonnulls(user_id, email) = 1),
  -- An invitation ends with the membership of who made it.
  foreign key (team_id, invited_by) references triggerfs.memberships (team_id, user_id) on delete cascade
);
create unique index invites_user on triggerfs.invites (team_id, user_id) where user_id is not null;
create unique index invites_email on triggerfs.invites (team_id, lower(email)) where email is not null;
create index invites_by_user on triggerfs.invites (user_id) where user_id is not null;
create index invites_by_email on triggerfs.invites (lower(email)) where email is not null;

alter table triggerfs.activations enable row level security;
alter table triggerfs.activations force row level security;
create policy owner_all on triggerfs.activations to current_user using (true) with check (true);
alter table triggerfs.sessions enable row level security;
alter table triggerfs.sessions force row level security;
create policy own_sessions on triggerfs.sessions to triggerfs_app using (user_id = (select triggerfs.current_account()));
create policy owner_all on triggerfs.sessions to current_user using (true) with check (true);
alter table triggerfs.invites enable row level security;
alter table triggerfs.invites force row level security;
create policy team_only on triggerfs.invites to triggerfs_app
  using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()));
create policy owner_all on triggerfs.invites to current_user using (true) with check (true);
grant select, delete on triggerfs.sessions to triggerfs_app;
grant select, insert, delete on triggerfs.invites to triggerfs_app;
grant select (signed_up) on triggerfs.users to triggerfs_app;

-- Makes an account that waits for its code. Returns the identity that has the address already, or null; both cost the same, and
-- both leave an account, so that the one who signs up cannot tell.
create function triggerfs.sign_up(new_identity text, new_email text, password text, cost integer, hash bytea) returns text
  language plpgsql security definer set search_path = triggerfs, public, pg_temp as $$
declare
  holder text;
  made integer;
begin
  delete from triggerfs.users u using triggerfs.activations a
    where a.user_id = u.id and a.expires_at < now() and not u.active and lower(u.identity) = lower(new_identity);
  insert into triggerfs.users (identity, secret_hash, active) values (new_identity, crypt(password, gen_salt('bf', cost)), false) returning id into made;
  select u.identity into holder from triggerfs.users u where lower(u.email) = lower(new_email) and u.signed_up;
  insert into triggerfs.activations (user_id, email, code_hash) values (made, new_email, case when holder is null then hash end);
  return holder;
end $$;

-- Replaces the code of a waiting account, at most three times and once a minute. Returns the address to send it to, or no row.
create function triggerfs.renew_activation(waiting text, hash bytea) returns table (identity text, email text)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.activations a set code_hash = hash, tries = 0, sends = a.sends + 1, sent_at = now(), expires_at = now() + interval '24 hours'
    from triggerfs.users u
    where u.id = a.user_id and lower(u.identity) = lower(waiting) and a.code_hash is not null and a.sends < 4
      and a.sent_at < now() - interval '1 minute'
    returning u.identity, a.email
$$;

-- Opens an account with its code. Five tries for each code, counted also when they come at once.
create function triggerfs.activate(waiting text, hash bytea) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  wanted record;
begin
  update triggerfs.activations a set tries = a.tries + 1 from triggerfs.users u
    where u.id = a.user_id and lower(u.identity) = lower(waiting) and a.expires_at > now() and a.tries < 5
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

-- A login without a team. `pending`: the password is right, but the account still waits for its code.
create function triggerfs.authenticate_account(user_identity text, password text)
  returns table (user_id integer, identity text, token_epoch integer, pending boolean)
  language plpgsql stable security definer set search_path = triggerfs, public, pg_temp as $$
declare
  wanted record;
begin
  select u.id, u.identity, u.secret_hash, u.active, u.token_epoch into wanted
    from triggerfs.users u where lower(u.identity) = lower(user_identity) or lower(u.email) = lower(user_identity)
    order by lower(u.identity) = lower(user_identity) desc limit 1;
  -- An unknown user costs the same bcrypt as a wrong password.
  if crypt(password, coalesce(wanted.secret_hash, '$2a$12$C6UzMDM.H6dfI/f/IKcEeO7ZRk3hXJ3kzuhpNZCPzrlbTZrKQuGzS')) is distinct from wanted.secret_hash then
    return;
  end if;
  return query select wanted.id, wanted.identity, wanted.token_epoch, not wanted.active
    where wanted.active or exists (select from triggerfs.activations a where a.user_id = wanted.id);
end $$;

-- What a token's holder is now; the team 0 is that of sessions of an account alone.
drop function triggerfs.session_state(text, integer, integer, uuid);
create function triggerfs.session_state(kind text, subject integer, team integer, session uuid)
  returns table (team_name text, identity text, role text, epoch integer, operator boolean)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.name, u.identity, m.role, u.token_epoch, u.operator
    from triggerfs.users u
    join triggerfs.memberships m on m.user_id = u.id and m.team_id = team
    join triggerfs.teams t on t.id = m.team_id
    where kind <> 'worker' and u.id = subject and u.active
      and not exists (select from triggerfs.revoked_sessions r where r.session_id = session)
  union all
  select '', u.identity, 'account', u.token_epoch, u.operator
    from triggerfs.users u
    where kind = 'user' and team = 0 and u.id = subject and u.active
      and not exists (select from triggerfs.revoked_sessions r where r.session_id = session)
  union all
  select t.name, w.identity, 'worker', w.token_epoch, false
    from triggerfs.workers w
    join triggerfs.teams t on t.id = w.team_id
    where kind = 'worker' and w.team_id = team and w.id = subject
      and not exists (select from triggerfs.revoked_sessions r where r.session_id = session)
$$;

-- Notes that a session was opened or renewed.
create function triggerfs.note_session(session uuid, account integer, team integer, from_address text, with_agent text, ends timestamptz) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  insert into triggerfs.sessions as s (session_id, user_id, team_id, address, agent, expires_at)
    values (session, account, nullif(team, 0), from_address, with_agent, ends)
    on conflict (session_id) do update set used_at = now(), address = excluded.address, agent = excluded.agent, expires_at = excluded.expires_at
$$;

create or replace function triggerfs.change_password(account integer, current_password text, new_password text, cost integer) returns boolean
  language plpgsql security definer set search_path = triggerfs, public, pg_temp as $$
begin
  update triggerfs.users set secret_hash = crypt(new_password, gen_salt('bf', cost)), token_epoch = token_epoch + 1
    where id = account and secret_hash = crypt(current_password, secret_hash);
  if not found then
    return false;
  end if;
  delete from triggerfs.sessions where user_id = account;
  return true;
end $$;

-- An account that others made for their team goes with its last team; one that signed up stays and can join or make another.
create or replace function triggerfs.delete_stranded_user(account integer) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  delete from triggerfs.users u where u.id = account and not u.signed_up and not u.operator
    and not exists (select from triggerfs.memberships m where m.user_id = account)
$$;

-- Invitations that an account can accept: its own, those to its proven address, and only while who invited may still do so.
create function triggerfs.invites_of_user(account integer)
  returns table (id integer, team_id integer, team text, role text, invited_by text, created_at timestamptz, expires_at timestamptz)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select i.id, i.team_id, t.name, i.role, h.identity, i.created_at, i.expires_at
    from triggerfs.invites i
    join triggerfs.teams t on t.id = i.team_id
    join triggerfs.users u on u.id = account and u.active and (i.user_id = u.id or (u.signed_up and lower(i.email) = lower(u.email)))
    join triggerfs.memberships b on b.team_id = i.team_id and b.user_id = i.invited_by and (b.role = 'owner' or (b.role = 'admin' and i.role <> 'owner'))
    join triggerfs.users h on h.id = i.invited_by
    where i.expires_at > now()
      and not exists (select from triggerfs.memberships m where m.team_id = i.team_id and m.user_id = account)
    order by i.id
$$;

-- Joins the team of an invitation; no row when there is none for this account.
create function triggerfs.accept_invite(account integer, invite integer) returns table (team_id integer, team text, role text)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  wanted record;
begin
  select i.* into wanted from triggerfs.invites_of_user(account) i where i.id = invite;
  if wanted.id is null then
    return;
  end if;
  delete from triggerfs.invites i where i.id = wanted.id;
  -- Somebody else was quicker, or the invitation was withdrawn in this moment.
  if not found then
    return;
  end if;
  insert into triggerfs.memberships (team_id, user_id, role) values (wanted.team_id, account, wanted.role);
  return query select wanted.team_id, wanted.team, wanted.role;
end $$;

-- Throws an invitation away. False: there is none for this account.
create function triggerfs.decline_invite(account integer, invite integer) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  delete from triggerfs.invites i where i.id in (select o.id from triggerfs.invites_of_user(account) o where o.id = invite);
  return found;
end $$;

-- What a former member owned in the team is nobody's: admins take care of it. Invitations to a member have come to their end.
create function triggerfs.release_membership() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    delete from triggerfs.invites i using triggerfs.users u
      where u.id = new.user_id and i.team_id = new.team_id and (i.user_id = u.id or (u.signed_up and lower(i.email) = lower(u.email)));
    return null;
  end if;
  delete from triggerfs.sessions s where s.team_id = old.team_id and s.user_id = old.user_id;
  if exists (select from triggerfs.teams t where t.id = old.team_id) then
    update triggerfs.workers set owner_id = null where team_id = old.team_id and owner_id = old.user_id;
    update triggerfs.services set owner_id = null where team_id = old.team_id and owner_id = old.user_id;
    update triggerfs.directories set owner_id = null where team_id = old.team_id and owner_id = old.user_id;
    update triggerfs.triggers set owner_id = null where team_id = old.team_id and owner_id = old.user_id;
  end if;
  return null;
end $$;
create trigger memberships_release after insert or delete on triggerfs.memberships for each row execute function triggerfs.release_membership();

-- Removes what has ended by itself.
create function triggerfs.sweep_people() returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  delete from triggerfs.users u using triggerfs.activations a where a.user_id = u.id and not u.active and a.expires_at < now();
  delete from triggerfs.sessions where expires_at < now();
  delete from triggerfs.invites where expires_at < now();
  delete from triggerfs.mails where created_at < now() - interval '90 days';
$$;

revoke execute on all functions in schema triggerfs from public;
grant execute on all functions in schema triggerfs to triggerfs_app;
grant execute on function triggerfs.sweep_people() to triggerfs_jobs;
