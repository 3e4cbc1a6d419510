-- Limits of plans for what makes work over time: schedules, and invocations that wait in the queue.

alter table triggerfs.plans add column schedules integer check (schedules >= 0);
alter table triggerfs.plans add column queued integer check (queued >= 0);
update triggerfs.plans set schedules = v.schedules, queued = v.queued
  from (values ('free', 5, 100), ('basic', 50, 10000), ('advanced', 500, 100000)) as v (name, schedules, queued) where plans.name = v.name;

create or replace function triggerfs.team_use(team integer, kind text) returns integer
  language plpgsql stable security definer set search_path = triggerfs, pg_temp as $$
begin
  return case kind
    when 'workers' then (select count(*) from triggerfs.workers w where w.team_id = team)
    when 'services' then (select count(*) from triggerfs.services s where s.team_id = team)
    when 'triggers' then (select count(*) from triggerfs.triggers t where t.team_id = team)
    when 'users' then (select count(*) from triggerfs.memberships m where m.team_id = team)
    when 'schedules' then (select count(*) from triggerfs.schedules s where s.team_id = team)
    when 'queued' then (select count(*) from triggerfs.queue_items i where i.team_id = team and i.state = 'queued')
  end;
end $$;

create trigger schedules_plan before insert or update of team_id on triggerfs.schedules for each row execute function triggerfs.check_plan();

-- How many more invocations of a team may wait; null for any number. Counted without a lock, which would let one team's open transaction
-- hold up what others accept: statements at the same moment may go beyond the limit by what they bring.
create function triggerfs.queue_room(team integer) returns integer
  language sql volatile security definer set search_path = triggerfs, pg_temp as $$
  select case when p.queued is not null then greatest(0, p.queued - (select count(*)::integer from (
      select from triggerfs.queue_items i where i.team_id = t.id and i.state = 'queued' limit p.queued) as waiting)) end
    from triggerfs.teams t join triggerfs.plans p on p.name = t.plan where t.id = team
$$;

-- Refuses so many more waiting invocations when the plan has no room for all of them; the detail says for how many it has.
create function triggerfs.check_queue_plan(team integer, wanted bigint) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  room integer := triggerfs.queue_room(team);
  found record;
begin
  if room is null or wanted <= room then
    return;
  end if;
  select t.name, t.plan, p.queued into found from triggerfs.teams t join triggerfs.plans p on p.name = t.plan where t.id = team;
  raise exception 'the plan % allows % waiting invocations in a team, and the team % has %', found.plan, found.queued, found.name, found.queued - room
    using errcode = 'TF001', detail = room::text, hint = 'Wait until some have run, cancel what is not needed, or ask the operator for a larger plan.';
end $$;

-- The same for all of a statement at once; without any limit it looks at the rules alone, never at each item. What is there already, by its
-- id or its key, takes no room.
create function triggerfs.check_queue_plans(rules jsonb, rule_of integer[], ids uuid[], keys text[]) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  limited integer[] := (select array_agg(t.id order by t.id) from triggerfs.teams t join triggerfs.plans p on p.name = t.plan
    where p.queued is not null and t.id in (select (r ->> 'team')::integer from jsonb_array_elements(rules) r));
begin
  if limited is null then
    return;
  end if;
  perform triggerfs.check_queue_plan(w.team, w.items) from (
    select r.team, count(*) as items
      from unnest(rule_of, ids, keys) as g (rule, id, key) cross join lateral (select (rules -> (g.rule - 1) ->> 'team')::integer as team) r
      where r.team = any(limited) and not exists (select from triggerfs.queue_items i where i.id = g.id)
        and not exists (select from triggerfs.queue_items i where i.team_id = r.team and i.idempotency_key = g.key)
      group by r.team) w;
end $$;

-- Those of the items, which all are of fires, that there is no room for: the last ones of each team.
create function triggerfs.fires_without_room(items jsonb) returns uuid[]
  language sql volatile security definer set search_path = triggerfs, pg_temp as $$
  with given as materialized (
    select (e.item ->> 'id')::uuid as id, (e.item ->> 'team')::integer as team, e.n from jsonb_array_elements(items) with ordinality as e (item, n)
  ), room as materialized (
    select t.team, triggerfs.queue_room(t.team) as places from (select distinct g.team from given g) t
  ), placed as (
    select g.id, r.places, row_number() over (partition by g.team order by g.n) as place from given g join room r using (team)
  )
  select coalesce(array_agg(p.id) filter (where p.place > p.places), '{}') from placed p
$$;

revoke execute on all functions in schema triggerfs from public;
