-- Plans: what a team may have, as rows. Triggers keep the limits, so no door goes round them, psql included. A null limit is none.
create table triggerfs.plans (
  name text primary key check (name ~ '^[a-z][a-z0-9-]{0,30}$'),
  position integer not null unique,
  -- Teams of one owner; the other limits are per team.
  teams integer check (teams >= 0),
  users integer check (users >= 0),
  workers integer check (workers >= 0),
  services integer check (services >= 0),
  triggers integer check (triggers >= 0),
  public_services boolean not null,
  -- The plan of new teams.
  is_default boolean not null default false
);
create unique index plans_default on triggerfs.plans (is_default) where is_default;
insert into triggerfs.plans (name, position, teams, users, workers, services, triggers, public_services, is_default) values
  ('free', 1, 1, 2, 2, 1, 3, false, false),
  ('basic', 2, 1, 9, 25, 5, 26, true, false),
  ('advanced', 3, 2, 25, 100, 20, 51, true, false),
  ('unlimited', 4, null, null, null, null, null, true, true);
grant select on triggerfs.plans to triggerfs_app;

-- What the plan of a team did not know before is unlimited, as it was.
update triggerfs.teams t set plan = 'unlimited' where not exists (select from triggerfs.plans p where p.name = t.plan);
alter table triggerfs.teams alter column plan drop default;
alter table triggerfs.teams add constraint teams_plan foreign key (plan) references triggerfs.plans (name);

create function triggerfs.default_plan() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  new.plan := coalesce(new.plan, (select p.name from triggerfs.plans p where p.is_default), 'unlimited');
  return new;
end $$;
create trigger teams_default_plan before insert on triggerfs.teams for each row execute function triggerfs.default_plan();

-- The plan is the operator's to change, so members' statements name the columns they may write.
revoke insert, update on triggerfs.teams from triggerfs_app;
grant update (name, description) on triggerfs.teams to triggerfs_app;

-- How many of a kind a team has.
create function triggerfs.team_use(team integer, kind text) returns integer
  language plpgsql stable security definer set search_path = triggerfs, pg_temp as $$
begin
  return case kind
    when 'workers' then (select count(*) from triggerfs.workers w where w.team_id = team)
    when 'services' then (select count(*) from triggerfs.services s where s.team_id = team)
    when 'triggers' then (select count(*) from triggerfs.triggers t where t.team_id = team)
    when 'users' then (select count(*) from triggerfs.memberships m where m.team_id = team)
  end;
end $$;

-- Teams that a user owns, and how many they may own: as many as the best plan among those teams allows.
create function triggerfs.owned_teams(account integer) returns table (used integer, allowed integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select count(*)::integer, case when bool_or(p.teams is null) then null else max(p.teams) end
    from triggerfs.memberships m join triggerfs.teams t on t.id = m.team_id join triggerfs.plans p on p.name = t.plan
    where m.user_id = account and m.role = 'owner'
$$;

-- Refuses a row above the limit. Rows that are there stay when a plan shrinks. Inserts of one team wait for each other where there is
-- a limit, so two at once cannot both be the last one.
create function triggerfs.check_plan() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  kind text := case tg_table_name when 'memberships' then 'users' else tg_table_name end;
  team record;
  allowed integer;
  used integer;
begin
  if tg_op = 'UPDATE' and new.team_id = old.team_id then
    return new;
  end if;
  select t.id, t.name, t.plan, to_jsonb(p) as limits into team
    from triggerfs.teams t join triggerfs.plans p on p.name = t.plan where t.id = new.team_id;
  allowed := (team.limits ->> kind)::integer;
  if allowed is null then
    return new;
  end if;
  perform pg_advisory_xact_lock(hashtext('triggerfs.plan'), new.team_id);
  used := triggerfs.team_use(new.team_id, kind);
  if used >= allowed then
    raise exception 'the plan % allows % % in a team, and the team % has %', team.plan, allowed,
      case when allowed = 1 then rtrim(kind, 's') else kind end, team.name, used
      using errcode = 'TF001', hint = 'Delete one that is not needed, or ask the operator for a larger plan.';
  end if;
  if (used + 1) * 5 >= allowed * 4 and used * 5 < allowed * 4 then
    perform triggerfs.send_mail(new.team_id, null, 'quota', format('%s of %s %s in use', used + 1, allowed, kind),
      format('The plan %s allows %s %s in a team; the team %s has %s now.', team.plan, allowed, kind, team.name, used + 1));
  end if;
  return new;
end $$;
create trigger workers_plan before insert or update of team_id on triggerfs.workers for each row execute function triggerfs.check_plan();
create trigger services_plan before insert or update of team_id on triggerfs.services for each row execute function triggerfs.check_plan();
create trigger triggers_plan before insert or update of team_id on triggerfs.triggers for each row execute function triggerfs.check_plan();
create trigger memberships_plan before insert or update of team_id on triggerfs.memberships for each row execute function triggerfs.check_plan();

create function triggerfs.check_public_plan() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  plan text;
begin
  select p.name into plan from triggerfs.teams t join triggerfs.plans p on p.name = t.plan
    where t.id = new.team_id and not p.public_services;
  if plan is not null then
    raise exception 'the plan % has no public services', plan
      using errcode = 'TF001', hint = 'Give the service the visibility team, or ask the operator for a larger plan.';
  end if;
  return new;
end $$;
create trigger services_public_plan before insert or update of visibility on triggerfs.services
  for each row when (new.visibility = 'public') execute function triggerfs.check_public_plan();

-- After the row, so that the team just made counts with its own plan.
create function triggerfs.check_owned_teams() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  owned record;
begin
  perform pg_advisory_xact_lock(hashtext('triggerfs.owner'), new.user_id);
  select * into owned from triggerfs.owned_teams(new.user_id);
  if owned.used > owned.allowed then
    raise exception 'the plan allows one owner % %, and this would be number %', owned.allowed,
      case when owned.allowed = 1 then 'team' else 'teams' end, owned.used
      using errcode = 'TF001', hint = 'Leave a team or delete one, or ask the operator for a larger plan.';
  end if;
  return null;
end $$;
create trigger memberships_owned after insert on triggerfs.memberships
  for each row when (new.role = 'owner') execute function triggerfs.check_owned_teams();
create trigger memberships_owned_update after update of role on triggerfs.memberships
  for each row when (new.role = 'owner' and old.role <> 'owner') execute function triggerfs.check_owned_teams();

revoke execute on all functions in schema triggerfs from public;
grant execute on all functions in schema triggerfs to triggerfs_app;
