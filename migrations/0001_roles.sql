-- Least-privilege roles. Group roles without login: a process connects with its own login (or the owner's) and runs
-- as one of them (`options=-c role=...`). Roles are shared by all databases of a cluster, so they may exist already.
do $$
declare
  name text;
begin
  foreach name in array array['triggerfs_app', 'triggerfs_edge', 'triggerfs_jobs'] loop
    begin
      execute format('create role %I nologin nosuperuser nobypassrls noinherit', name);
    exception when duplicate_object or unique_violation then
      null;
    end;
    if not pg_has_role(current_user, name, 'set') then
      execute format('grant %I to current_user with set true', name);
    end if;
  end loop;
end $$;

-- The runner made the schema for its ledger.
create schema if not exists triggerfs;
create extension if not exists pgcrypto;
grant usage on schema triggerfs to triggerfs_app, triggerfs_edge, triggerfs_jobs;

-- The team a transaction acts for: set by the control-plane (`set_config('app.team', id, true)`), empty otherwise.
create function triggerfs.current_team() returns integer
  language sql stable parallel safe
  return nullif(current_setting('app.team', true), '')::integer;

-- One counter per team (0 is the fleet: brokers, keys, revocations). Brokers compare it with what they hold.
create table triggerfs.config_version (
  team_id integer primary key,
  version bigint not null default 1
);
insert into triggerfs.config_version (team_id) values (0);
grant select on triggerfs.config_version to triggerfs_app, triggerfs_edge, triggerfs_jobs;

-- Raises a team's counter and rings the doorbell `kind:id:version`. The notification is only a hint;
-- the counter is the truth. Definer rights, because the roles may only read the table.
create function triggerfs.touch_config(team integer) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  raised bigint;
begin
  insert into triggerfs.config_version as v (team_id, version) values (team, 1)
    on conflict (team_id) do update set version = v.version + 1
    returning v.version into raised;
  perform pg_notify('triggerfs_config', format('team:%s:%s', team, raised));
end $$;

-- Row trigger for tables with a team_id column.
create function triggerfs.touch_team_config() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  perform triggerfs.touch_config(case when tg_op = 'DELETE' then old.team_id else new.team_id end);
  return null;
end $$;

-- Statement trigger for tables of the whole fleet.
create function triggerfs.touch_fleet_config() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  perform triggerfs.touch_config(0);
  return null;
end $$;

create function triggerfs.set_updated_at() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  return new;
end $$;
