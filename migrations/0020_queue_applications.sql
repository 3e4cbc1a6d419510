-- Programs with a login of their own in this database: they accept work in their own transactions.

do $$
begin
  create role triggerfs_application nologin nosuperuser nobypassrls;
exception when duplicate_object or unique_violation then
  null;
end $$;
grant usage on schema triggerfs to triggerfs_application;

-- Which team a plain database login works for. Only the owner of the database writes this.
create table triggerfs.applications (
  role name primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  created_at timestamptz(3) not null default now()
);

call triggerfs.isolate_teams('applications');
grant select on triggerfs.applications to triggerfs_app;

-- The team that a plain login works for; of the control-plane's own role, the team of its transaction. Null: none.
create function triggerfs.application_team() returns integer
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select coalesce(
    (select a.team_id from triggerfs.applications a where a.role = session_user),
    case when pg_has_role(session_user, 'triggerfs_app', 'member') then triggerfs.current_team() end)
$$;

-- The team that the owner of the database works for without saying so: the only one there is. Null for everybody else.
create function triggerfs.only_team() returns integer
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select min(t.id) from triggerfs.teams t
    where pg_has_role(session_user, (select n.nspowner from pg_namespace n where n.nspname = 'triggerfs'), 'member') having count(*) = 1
$$;

-- Lets a database login work for a team: `select triggerfs.create_application('shop', 'demo')`. For the owner of the database.
create function triggerfs.create_application(login name, team text) returns void
  language plpgsql set search_path = triggerfs, pg_temp as $$
declare
  found integer := (select t.id from triggerfs.teams t where lower(t.name) = lower(team));
begin
  if found is null then
    raise exception 'there is no team %', team;
  elsif not exists (select from pg_roles r where r.rolname = login) then
    raise exception 'there is no role %: create it first, such as: create role % login password ''...''', login, login;
  elsif (select r.rolsuper from pg_roles r where r.rolname = login) then
    raise exception 'role % is a superuser: applications get a login of their own', login;
  end if;
  execute format('grant triggerfs_application to %I', login);
  insert into triggerfs.applications (role, team_id) values (login, found) on conflict (role) do update set team_id = excluded.team_id;
end $$;

-- Takes it back.
create function triggerfs.drop_application(login name) returns void
  language plpgsql set search_path = triggerfs, pg_temp as $$
begin
  delete from triggerfs.applications a where a.role = login;
  execute format('revoke triggerfs_application from %I', login);
end $$;

-- Milliseconds of an interval in text, at least one and at most a year; null of null.
create function triggerfs.milliseconds(span text) returns bigint
  language plpgsql stable strict set search_path = triggerfs, pg_temp as $$
declare
  ms constant bigint := round(extract(epoch from span::interval) * 1000);
begin
  if ms not between 1 and 31536000000 then
    raise exception using errcode = '22023', message = format('%s is not between a millisecond and a year', quote_literal(span));
  end if;
  return ms;
end $$;

-- Accepts one invocation in the caller's own transaction: it exists when that commits, and never did when it rolls back.
-- Options: delay, timeout, backoff, max_age (intervals), priority, retries, concurrency_key, idempotency_key, on_success, on_failure.
create function triggerfs.invoke(service text, plugin text, payload bytea, args jsonb default '{}', options jsonb default '{}') returns uuid
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  team integer := coalesce(triggerfs.application_team(), triggerfs.only_team());
  unknown text;
  wanted jsonb;
  made record;
  ms constant text[] := array['delay', 'timeout', 'backoff', 'max_age'];
begin
  if team is null then
    raise exception using errcode = '42501', message = format('role %s works for no team', session_user), hint = 'The owner of the database runs triggerfs.create_application(role, team), or sets app.team to the id of a team.';
  end if;
  if jsonb_typeof(options) <> 'object' then
    raise exception using errcode = '22023', message = 'options are a JSON object';
  end if;
  select k into unknown from jsonb_object_keys(options) k
    where k <> all(ms || array['priority', 'retries', 'concurrency_key', 'idempotency_key', 'on_success', 'on_failure']) limit 1;
  if unknown is not null then
    raise exception using errcode = '22023', message = format('unknown option %s', quote_literal(unknown));
  elsif not coalesce(jsonb_typeof(options -> 'priority') = 'number' and (options ->> 'priority')::numeric between -100 and 100, options -> 'priority' is null)
      or not coalesce(jsonb_typeof(options -> 'retries') = 'number' and (options ->> 'retries')::numeric between 0 and 1000, options -> 'retries' is null) then
    raise exception using errcode = '22023', message = 'priority is a number from -100 to 100, retries one from 0 to 1000';
  elsif exists (select from unnest(array['concurrency_key', 'idempotency_key']) k
      where options ? k and (jsonb_typeof(options -> k) <> 'string' or length(options ->> k) not between 1 and 200)) then
    raise exception using errcode = '22023', message = 'concurrency_key and idempotency_key are texts of 1 to 200 characters';
  elsif octet_length(payload) > 4194304 then
    raise exception using errcode = '22023', message = format('payload of %s bytes, at most 4194304', octet_length(payload));
  end if;
  perform triggerfs.assert_callable(team, null, service, plugin, args);
  perform triggerfs.assert_follow_up(team, null, options -> 'on_success'), triggerfs.assert_follow_up(team, null, options -> 'on_failure');
  wanted := jsonb_strip_nulls(jsonb_build_object(
    'id', triggerfs.uuid_v7(), 'team', team, 'source', 'sql', 'caller', session_user, 'service', service, 'plugin', plugin,
    'args', (select coalesce(jsonb_object_agg(a.key, a.value), '{}') from jsonb_each_text(args) a),
    'delayMs', triggerfs.milliseconds(options ->> 'delay'), 'timeoutMs', triggerfs.milliseconds(options ->> 'timeout'),
    'backoffMs', triggerfs.milliseconds(options ->> 'backoff'), 'maxAgeMs', triggerfs.milliseconds(options ->> 'max_age'),
    'priority', options -> 'priority', 'retries', options -> 'retries', 'concurrencyKey', options ->> 'concurrency_key',
    'idempotencyKey', options ->> 'idempotency_key',
    'idempotencyHash', case when options ? 'idempotency_key' then
      encode(sha256(convert_to(concat_ws('|', service, plugin, args::text, options::text, encode(payload, 'hex')), 'UTF8')), 'hex') end,
    'onSuccess', options -> 'on_success', 'onFailure', options -> 'on_failure'));
  select e.id, e.existing into made from triggerfs.enqueue(jsonb_build_array(wanted), array[payload]) e;
  if made.id is null then
    raise exception using errcode = '23505', message = format('the idempotency key %s was used for another request', quote_literal(options ->> 'idempotency_key'));
  end if;
  return made.id;
end $$;

-- The same with text.
create function triggerfs.invoke(service text, plugin text, payload text default '', args jsonb default '{}', options jsonb default '{}') returns uuid
  language sql set search_path = triggerfs, pg_temp as $$
  select triggerfs.invoke(service, plugin, convert_to(payload, 'UTF8'), args, options)
$$;

-- What became of an invocation of the application's team.
create function triggerfs.invocation(invocation uuid)
  returns table (state text, attempt integer, due_at timestamptz, ended_at timestamptz, verdict text, exit_code integer, error text, detail text)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select i.state, i.attempt, i.due_at, i.ended_at, i.verdict, i.exit_code, i.error, i.detail
    from triggerfs.queue_items i where i.id = invocation and i.team_id = coalesce(triggerfs.application_team(), triggerfs.only_team())
$$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.application_team(), triggerfs.invocation(uuid), triggerfs.milliseconds(text),
  triggerfs.invoke(text, text, bytea, jsonb, jsonb), triggerfs.invoke(text, text, text, jsonb, jsonb) to triggerfs_application, triggerfs_app, triggerfs_jobs;
