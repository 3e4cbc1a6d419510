-- How accounts and what belongs to people end.

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

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.delete_account(integer, text) to triggerfs_app;
