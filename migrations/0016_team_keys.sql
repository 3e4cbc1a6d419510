-- Keys that payloads, output and secrets are sealed with (runtime/sealing/).

-- The master key of this database by its fingerprint: one row. The key itself is in a file.
create table triggerfs.master_key (
  only_one boolean primary key default true check (only_one),
  fingerprint text not null check (fingerprint ~ '^[0-9a-f]{16}$'),
  since timestamptz(3) not null default now()
);
revoke all on triggerfs.master_key from public;

-- Makes the fingerprint known when there is none yet (null only asks), and returns the one that counts.
create function triggerfs.register_master_key(wanted text) returns text
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  if wanted is not null then
    insert into triggerfs.master_key (fingerprint) values (wanted) on conflict do nothing;
  end if;
  return (select fingerprint from triggerfs.master_key);
end $$;

-- Data keys of the teams, wrapped by the master key. Deleting a team deletes its keys, and what they sealed is gone for good.
create table triggerfs.team_keys (
  id integer generated always as identity primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  -- Fingerprint of the master key that wrapped it.
  master text not null,
  wrapped bytea not null,
  created_at timestamptz(3) not null default now(),
  -- Seals nothing new since then; it still opens.
  retired_at timestamptz(3)
);
create unique index team_keys_current on triggerfs.team_keys (team_id) where retired_at is null;
create index team_keys_team on triggerfs.team_keys (team_id);
alter table triggerfs.team_keys enable row level security;
alter table triggerfs.team_keys force row level security;
create policy owner_all on triggerfs.team_keys to current_user using (true) with check (true);

create function triggerfs.team_keys_of(team integer) returns table (id integer, master text, wrapped bytea, retired boolean)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select k.id, k.master, k.wrapped, k.retired_at is not null from triggerfs.team_keys k where k.team_id = team order by k.id
$$;

-- Adds the team's current key; does nothing when another process was faster.
create function triggerfs.add_team_key(team integer, master_fingerprint text, wrapped_key bytea) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  insert into triggerfs.team_keys (team_id, master, wrapped) values (team, master_fingerprint, wrapped_key)
    on conflict (team_id) where retired_at is null do nothing
$$;

-- Rotation of data keys: the next thing that is sealed gets a new one (within a minute). Null means all teams.
create function triggerfs.retire_team_keys(team integer) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  changed integer;
begin
  update triggerfs.team_keys set retired_at = now() where retired_at is null and (team is null or team_id = team);
  get diagnostics changed = row_count;
  return changed;
end $$;

-- Rotation of the master key: data keys that another one wrapped, and their new wrapping.
create function triggerfs.foreign_team_keys(master_fingerprint text) returns table (id integer, team_id integer, master text, wrapped bytea)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select k.id, k.team_id, k.master, k.wrapped from triggerfs.team_keys k where k.master <> master_fingerprint order by k.id
$$;

create function triggerfs.rewrap_team_keys(master_fingerprint text, ids integer[], wrapped_keys bytea[]) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  update triggerfs.team_keys k set master = master_fingerprint, wrapped = n.wrapped
    from unnest(ids, wrapped_keys) as n (id, wrapped) where k.id = n.id;
  update triggerfs.master_key set fingerprint = master_fingerprint, since = now() where fingerprint <> master_fingerprint;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.register_master_key(text), triggerfs.team_keys_of(integer), triggerfs.add_team_key(integer, text, bytea)
  to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on function triggerfs.foreign_team_keys(text), triggerfs.rewrap_team_keys(text, integer[], bytea[]) to triggerfs_app;
