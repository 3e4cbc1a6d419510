-- What the control-plane asks about sessions and accounts beyond one team, in narrow definer functions.

-- What a token's holder is now: no row when the session was revoked, the account is closed, or it left the team.
create function triggerfs.session_state(kind text, subject integer, team integer, session uuid)
  returns table (team_name text, identity text, role text, epoch integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.name, u.identity, m.role, u.token_epoch
    from triggerfs.users u
    join triggerfs.memberships m on m.user_id = u.id and m.team_id = team
    join triggerfs.teams t on t.id = m.team_id
    where kind <> 'worker' and u.id = subject and u.active
      and not exists (select from triggerfs.revoked_sessions r where r.session_id = session)
  union all
  select t.name, w.identity, 'worker', w.token_epoch
    from triggerfs.workers w
    join triggerfs.teams t on t.id = w.team_id
    where kind = 'worker' and w.team_id = team and w.id = subject
      and not exists (select from triggerfs.revoked_sessions r where r.session_id = session)
$$;

-- Nobody acts for a team before it exists, so its first member comes with it.
create function triggerfs.create_team(team_name text, about text, founder integer) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  made integer;
begin
  insert into triggerfs.teams (name, description) values (team_name, about) returning id into made;
  insert into triggerfs.memberships (team_id, user_id, role) values (made, founder, 'owner');
  return made;
end $$;

-- A new password ends all sessions of the user. False: the current password is another one.
create function triggerfs.change_password(account integer, current_password text, new_password text, cost integer) returns boolean
  language plpgsql security definer set search_path = triggerfs, public, pg_temp as $$
begin
  update triggerfs.users set secret_hash = crypt(new_password, gen_salt('bf', cost)), token_epoch = token_epoch + 1
    where id = account and secret_hash = crypt(current_password, secret_hash);
  return found;
end $$;

-- An account that belongs to no team any more can log in nowhere: its name becomes free again.
create function triggerfs.delete_stranded_user(account integer) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  delete from triggerfs.users u where u.id = account and not exists (select from triggerfs.memberships m where m.user_id = account)
$$;

-- Moves a directory with everything below it, parents first, since each row checks that its parent exists.
create function triggerfs.move_directory(team integer, old_path text, new_path text) returns void
  language plpgsql set search_path = triggerfs, pg_temp as $$
declare
  moving record;
begin
  for moving in
    select d.id, d.path from triggerfs.directories d
    where d.team_id = team and (d.path = old_path or starts_with(d.path, old_path || '/'))
    order by d.path collate "C" for update
  loop
    update triggerfs.directories set path = new_path || substr(moving.path, length(old_path) + 1) where team_id = team and id = moving.id;
  end loop;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on all functions in schema triggerfs to triggerfs_app;

-- Housekeeping of the fleet.
grant select, delete on triggerfs.brokers, triggerfs.revoked_sessions to triggerfs_jobs;
grant select on triggerfs.presence to triggerfs_jobs;
