-- Only proven addresses are unique. An admin may write any address down for an account of their team, and must not learn from
-- the answer whether somebody else has it; nor does that keep its owner from proving it.
drop index triggerfs.users_email;
create unique index users_email on triggerfs.users (lower(email)) where signed_up;
create index users_address on triggerfs.users (lower(email));

-- A login with an address is that of who proved it.
create or replace function triggerfs.authenticate_user(team_name text, user_identity text, password text)
  returns table (team_id integer, team text, user_id integer, identity text, role text, token_epoch integer)
  language plpgsql stable security definer set search_path = triggerfs, public, pg_temp as $$
declare
  found record;
begin
  select u.id, u.identity, u.secret_hash, u.active, u.token_epoch into found
    from triggerfs.users u where lower(u.identity) = lower(user_identity) or lower(u.email) = lower(user_identity)
    order by lower(u.identity) = lower(user_identity) desc, u.signed_up desc, u.id limit 1;
  -- An unknown user costs the same bcrypt as a wrong password.
  if crypt(password, coalesce(found.secret_hash, '$2a$12$C6UzMDM.H6dfI/f/IKcEeO7ZRk3hXJ3kzuhpNZCPzrlbTZrKQuGzS')) is distinct from found.secret_hash
    or not found.active then
    return;
  end if;
  return query select t.id, t.name, found.id, found.identity, m.role, found.token_epoch
    from triggerfs.memberships m join triggerfs.teams t on t.id = m.team_id
    where m.user_id = found.id and lower(t.name) = lower(team_name);
end $$;

create or replace function triggerfs.authenticate_account(user_identity text, password text)
  returns table (user_id integer, identity text, token_epoch integer, pending boolean)
  language plpgsql stable security definer set search_path = triggerfs, public, pg_temp as $$
declare
  wanted record;
begin
  select u.id, u.identity, u.secret_hash, u.active, u.token_epoch into wanted
    from triggerfs.users u where lower(u.identity) = lower(user_identity) or lower(u.email) = lower(user_identity)
    order by lower(u.identity) = lower(user_identity) desc, u.signed_up desc, u.id limit 1;
  -- An unknown user costs the same bcrypt as a wrong password.
  if crypt(password, coalesce(wanted.secret_hash, '$2a$12$C6UzMDM.H6dfI/f/IKcEeO7ZRk3hXJ3kzuhpNZCPzrlbTZrKQuGzS')) is distinct from wanted.secret_hash then
    return;
  end if;
  return query select wanted.id, wanted.identity, wanted.token_epoch, not wanted.active
    where wanted.active or exists (select from triggerfs.activations a where a.user_id = wanted.id);
end $$;
