-- Row level security is the second line: statements name the team themselves, and a forgotten WHERE shows nothing.
do $$
declare
  t text;
begin
  foreach t in array array['memberships', 'api_tokens', 'workers', 'services', 'service_members', 'directories', 'triggers', 'trigger_hits', 'presence'] loop
    execute format('alter table triggerfs.%I enable row level security', t);
    execute format('alter table triggerfs.%I force row level security', t);
    execute format('create policy team_only on triggerfs.%I to triggerfs_app using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()))', t);
    -- The owner (migrations, definer functions) sees every team even where it is no superuser.
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
    execute format('grant select, insert, update, delete on triggerfs.%I to triggerfs_app', t);
  end loop;
end $$;

alter table triggerfs.teams enable row level security;
alter table triggerfs.teams force row level security;
create policy team_only on triggerfs.teams to triggerfs_app using (id = (select triggerfs.current_team()));
create policy team_insert on triggerfs.teams for insert to triggerfs_app with check (true);
create policy owner_all on triggerfs.teams to current_user using (true) with check (true);
grant select, insert, update, delete on triggerfs.teams to triggerfs_app;

-- Users belong to no team, so statements on them always go by id or identity, and hashes stay in definer functions.
grant select (id, identity, email, active, token_epoch, created_at, updated_at), insert, update, delete on triggerfs.users to triggerfs_app;
grant select, insert, delete on triggerfs.revoked_sessions to triggerfs_app;
grant select on triggerfs.brokers to triggerfs_app, triggerfs_edge;
grant select, insert, update, delete on triggerfs.signing_keys, triggerfs.signing_secrets, triggerfs.channel_keys, triggerfs.channel_secrets to triggerfs_app;
grant execute on function triggerfs.touch_config(integer) to triggerfs_app;

-- Brokers read configuration of all teams, never secrets, and write only presence, hits and themselves.
do $$
declare
  t text;
begin
  foreach t in array array['teams', 'memberships', 'api_tokens', 'workers', 'services', 'service_members', 'triggers', 'trigger_hits', 'presence'] loop
    execute format('create policy edge_read on triggerfs.%I for select to triggerfs_edge using (true)', t);
  end loop;
end $$;
grant select on triggerfs.teams, triggerfs.memberships, triggerfs.api_tokens, triggerfs.services, triggerfs.service_members,
  triggerfs.triggers, triggerfs.trigger_hits, triggerfs.presence, triggerfs.revoked_sessions, triggerfs.signing_keys, triggerfs.channel_keys to triggerfs_edge;
grant select (id, team_id, identity, token_epoch) on triggerfs.workers to triggerfs_edge;
grant select (id, identity, active, token_epoch) on triggerfs.users to triggerfs_edge;
grant insert, update, delete on triggerfs.brokers to triggerfs_edge;
create policy edge_write on triggerfs.presence for all to triggerfs_edge using (true) with check (true);
create policy edge_hit on triggerfs.trigger_hits for all to triggerfs_edge using (true) with check (true);
grant insert, update, delete on triggerfs.presence to triggerfs_edge;
grant insert, update on triggerfs.trigger_hits to triggerfs_edge;

-- Login runs before a team is known, so it goes round the policies in three narrow functions.
create function triggerfs.authenticate_user(team_name text, user_identity text, password text)
  returns table (team_id integer, team text, user_id integer, identity text, role text, token_epoch integer)
  language plpgsql stable security definer set search_path = triggerfs, public, pg_temp as $$
declare
  found record;
begin
  select u.id, u.identity, u.secret_hash, u.active, u.token_epoch into found
    from triggerfs.users u where lower(u.identity) = lower(user_identity) or lower(u.email) = lower(user_identity)
    order by lower(u.identity) = lower(user_identity) desc limit 1;
  -- An unknown user costs the same bcrypt as a wrong password.
  if crypt(password, coalesce(found.secret_hash, '$2a$12$C6UzMDM.H6dfI/f/IKcEeO7ZRk3hXJ3kzuhpNZCPzrlbTZrKQuGzS')) is distinct from found.secret_hash
    or not found.active then
    return;
  end if;
  return query select t.id, t.name, found.id, found.identity, m.role, found.token_epoch
    from triggerfs.memberships m join triggerfs.teams t on t.id = m.team_id
    where m.user_id = found.id and lower(t.name) = lower(team_name);
end $$;

create function triggerfs.authenticate_worker(team_name text, worker_identity text, hash bytea)
  returns table (team_id integer, team text, worker_id integer, identity text, token_epoch integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, t.name, w.id, w.identity, w.token_epoch
    from triggerfs.workers w join triggerfs.teams t on t.id = w.team_id
    where w.token_hash = hash and lower(t.name) = lower(team_name) and lower(w.identity) = lower(worker_identity)
$$;

create function triggerfs.authenticate_token(hash bytea)
  returns table (team_id integer, team text, user_id integer, identity text, role text, token_id integer, scopes text[], token_epoch integer, expires_at timestamptz)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, t.name, u.id, u.identity, m.role, k.id, k.scopes, u.token_epoch, k.expires_at
    from triggerfs.api_tokens k
    join triggerfs.teams t on t.id = k.team_id
    join triggerfs.users u on u.id = k.user_id and u.active
    join triggerfs.memberships m on m.team_id = k.team_id and m.user_id = k.user_id
    where k.token_hash = hash and (k.expires_at is null or k.expires_at > now())
$$;

-- Teams of a user, for choosing one after login.
create function triggerfs.teams_of_user(wanted integer)
  returns table (team_id integer, team text, role text)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, t.name, m.role from triggerfs.memberships m join triggerfs.teams t on t.id = m.team_id where m.user_id = wanted order by t.name
$$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.current_team(), triggerfs.set_updated_at() to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on all functions in schema triggerfs to triggerfs_app;
