-- Invocations that were accepted for later. An item is the promise, kept here with its sealed payload; pg-boss holds nothing but
-- ids: one job for each item that may be fetched. An item without a job is parked (its service or key is at its limit, or waits
-- for a worker) or has ended.

do $$
begin
  create role triggerfs_application nologin nosuperuser nobypassrls;
exception when duplicate_object or unique_violation then
  null;
end $$;
grant usage on schema triggerfs to triggerfs_application;

alter table triggerfs.services add queue_concurrency integer check (queue_concurrency between 1 and 100000);

-- Which team a plain database login works for. Only the owner of the database writes this.
create table triggerfs.applications (
  role name primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  created_at timestamptz(3) not null default now()
);

-- Written by the functions below alone, which check what they are given.
create table triggerfs.queue_items (
  -- Also the invocation id of the first attempt.
  id uuid primary key,
  -- Without a foreign key: its check would cost each accepted item a lock on the team. A trigger removes what a team leaves.
  team_id integer not null,
  source text not null,
  caller text not null default '',
  service text not null,
  service_key text not null generated always as (lower(service)) stored,
  plugin text not null,
  args jsonb not null default '{}',
  trigger_id integer,
  schedule_id integer,
  priority smallint not null default 0,
  concurrency_key text,
  idempotency_key text,
  idempotency_hash bytea,
  timeout_ms integer,
  retries smallint not null default 0,
  retried smallint not null default 0,
  -- Waits for a worker in a row.
  waits smallint not null default 0,
  backoff_ms integer not null default 1000,
  max_age_ms bigint not null default 86400000,
  depth smallint not null default 0,
  accepted_at timestamptz(3) not null default now(),
  due_at timestamptz(3) not null,
  expires_at timestamptz(3) not null,
  state text not null default 'queued' check (state in ('queued', 'running', 'done', 'dead', 'cancelled', 'expired')),
  -- 0: pg-boss has a job. 1: parked, without a job. 2: released from there, with a job again.
  parked smallint not null default 0,
  -- Fencing token: only the attempt that is running settles the item.
  attempt integer not null default 0,
  invocation_id uuid,
  -- The last attempt may have reached a worker and its end is not known: it is asked for again under the same invocation id.
  uncertain boolean not null default false,
  cancel_requested boolean not null default false,
  dispatcher uuid,
  -- Sealed by whoever accepts; triggerfs.invoke cannot, so its payload is sealed when a control-plane takes the item.
  payload bytea,
  sealed boolean not null default false,
  on_success jsonb,
  on_failure jsonb,
  started_at timestamptz(3),
  ended_at timestamptz(3),
  verdict text,
  exit_code integer,
  error text,
  detail text not null default '',
  -- Sealed: the result with the end of the output.
  answer bytea
) with (fillfactor = 80);
-- No more than these: each costs every accepted item a look at its condition.
create unique index queue_items_key on triggerfs.queue_items (team_id, idempotency_key) where idempotency_key is not null;
create index queue_items_state on triggerfs.queue_items (team_id, state, id);
create index queue_items_running on triggerfs.queue_items (team_id, service_key) where state = 'running';
create index queue_items_parked on triggerfs.queue_items (team_id, service_key, parked, priority desc, due_at) where state = 'queued' and parked > 0;

create table triggerfs.queue_attempts (
  item_id uuid not null references triggerfs.queue_items on delete cascade,
  attempt integer not null,
  team_id integer not null,
  invocation_id uuid not null,
  dispatcher uuid not null,
  -- Identity of the worker that has or had it, as soon as that is known.
  worker text not null default '',
  resumed boolean not null default false,
  -- How often the request was sent: again when a broker was lost, under the same invocation id.
  sends smallint not null default 1,
  late boolean not null default false,
  started_at timestamptz(3) not null default now(),
  ended_at timestamptz(3),
  verdict text,
  exit_code integer,
  error text,
  detail text not null default '',
  primary key (item_id, attempt)
);

-- Services that just had no worker or no room: until `held_until` nothing is sent there, then one item tries.
create table triggerfs.queue_holds (
  team_id integer not null,
  service_key text not null,
  holds smallint not null default 1,
  held_until timestamptz(3) not null,
  primary key (team_id, service_key)
);

-- Results that are posted to a URL.
create table triggerfs.queue_callbacks (
  id uuid primary key,
  team_id integer not null,
  item_id uuid not null,
  url text not null,
  -- Sealed.
  body bytea not null,
  created_at timestamptz(3) not null default now()
);

-- What a team's callbacks are signed with, sealed.
create table triggerfs.queue_secrets (
  team_id integer primary key references triggerfs.teams on delete cascade,
  secret bytea not null,
  created_at timestamptz(3) not null default now()
);

do $$
declare
  t text;
begin
  foreach t in array array['applications', 'queue_items', 'queue_attempts', 'queue_holds', 'queue_callbacks', 'queue_secrets'] loop
    execute format('alter table triggerfs.%I enable row level security', t);
    execute format('alter table triggerfs.%I force row level security', t);
    execute format('create policy team_only on triggerfs.%I to triggerfs_app using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()))', t);
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
  end loop;
end $$;
grant select on triggerfs.queue_items, triggerfs.queue_attempts, triggerfs.applications to triggerfs_app;
grant select, insert, update on triggerfs.queue_secrets to triggerfs_app;
create policy jobs_callbacks on triggerfs.queue_callbacks to triggerfs_jobs using (true);
create policy jobs_secrets on triggerfs.queue_secrets to triggerfs_jobs using (true) with check (true);
grant select, delete on triggerfs.queue_callbacks to triggerfs_jobs;
grant select, insert on triggerfs.queue_secrets to triggerfs_jobs;

-- One queue. Its jobs have no end of their own (retention of ten years), are fetched again whenever their dispatcher is silent for
-- 15 s, and are deleted as soon as their item is settled.
select pgboss.create_queue('invocations', '{"policy": "standard", "partition": true, "retryLimit": 1000000, "retryDelay": 0,
  "expireInSeconds": 31536000, "retentionSeconds": 315360000, "deleteAfterSeconds": 3600, "heartbeatSeconds": 15, "warningQueueSize": 1000000}');

create function triggerfs.remove_team_queue() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  delete from pgboss.job where name = 'invocations' and id in (select i.id from triggerfs.queue_items i where i.team_id = old.id);
  delete from triggerfs.queue_items where team_id = old.id;
  delete from triggerfs.queue_holds where team_id = old.id;
  delete from triggerfs.queue_callbacks where team_id = old.id;
  return null;
end $$;
create trigger teams_queue after delete on triggerfs.teams for each row execute function triggerfs.remove_team_queue();

-- Gives items a job that is fetched when they are due. As pg-boss's own insert does it.
create function triggerfs.queue_jobs(items uuid[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  insert into pgboss.job (id, name, priority, start_after, expire_seconds, deletion_seconds, keep_until, retry_limit, retry_delay,
      retry_backoff, policy, heartbeat_seconds)
    select i.id, q.name, i.priority, i.due_at, q.expire_seconds, q.deletion_seconds, i.due_at + q.retention_seconds * interval '1 s',
      q.retry_limit, q.retry_delay, q.retry_backoff, q.policy, q.heartbeat_seconds
    from triggerfs.queue_items i, pgboss.queue q where i.id = any(items) and q.name = 'invocations'
    on conflict do nothing
$$;

-- Accepts items for later, all or none. What many items have in common is said once: item n has the rule rules[rule_of[n]], whose keys
-- are those of `enqueue`. Rows come in the order of the items. existing: the id or the team's idempotency key was there already, and
-- `id` is that item's; null when the key belongs to another request (another hash).
create function triggerfs.enqueue_batch(rules jsonb, rule_of integer[], ids uuid[], keys text[], hashes bytea[], payloads bytea[])
  returns table (id uuid, existing boolean)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
#variable_conflict use_column
declare
  made uuid[];
begin
  with rule as materialized (
    select r.*, coalesce(r.due, now()) + coalesce(r."delayMs", 0) * interval '1 ms' as due_at
    from rows from (jsonb_to_recordset(rules) as (
      team integer, source text, caller text, service text, plugin text, args jsonb, trigger integer, schedule integer, due timestamptz,
      "delayMs" bigint, priority smallint, retries smallint, "backoffMs" integer, "maxAgeMs" bigint, "timeoutMs" integer,
      "concurrencyKey" text, "onSuccess" jsonb, "onFailure" jsonb, depth smallint, sealed boolean
    )) with ordinality as r (team, source, caller, service, plugin, args, trigger, schedule, due, "delayMs", priority, retries, "backoffMs",
      "maxAgeMs", "timeoutMs", "concurrencyKey", "onSuccess", "onFailure", depth, sealed, n)
  ), inserted as (
    insert into triggerfs.queue_items as i (id, team_id, source, caller, service, plugin, args, trigger_id, schedule_id, priority,
        concurrency_key, idempotency_key, idempotency_hash, timeout_ms, retries, backoff_ms, max_age_ms, depth, due_at, expires_at,
        payload, sealed, on_success, on_failure)
      select g.id, r.team, r.source, coalesce(r.caller, ''), r.service, r.plugin, coalesce(r.args, '{}'), r.trigger, r.schedule,
        coalesce(r.priority, 0), r."concurrencyKey", g.key, g.hash, r."timeoutMs", coalesce(r.retries, 0), coalesce(r."backoffMs", 1000),
        coalesce(r."maxAgeMs", 86400000), coalesce(r.depth, 0), r.due_at,
        r.due_at + coalesce(r."maxAgeMs", 86400000) * interval '1 ms', g.payload, coalesce(r.sealed, false),
        nullif(r."onSuccess", 'null'), nullif(r."onFailure", 'null')
      from unnest(rule_of, ids, keys, hashes, payloads) with ordinality as g (rule, id, key, hash, payload, n) join rule r on r.n = g.rule
      -- In the order of the keys, so that two statements with the same keys do not wait for each other.
      order by r.team, g.key nulls first, g.n
      on conflict do nothing
      returning i.id, i.priority, i.due_at
  ), jobs as (
    insert into pgboss.job (id, name, priority, start_after, expire_seconds, deletion_seconds, keep_until, retry_limit, retry_delay,
        retry_backoff, policy, heartbeat_seconds)
      select i.id, q.name, i.priority, i.due_at, q.expire_seconds, q.deletion_seconds, i.due_at + q.retention_seconds * interval '1 s',
        q.retry_limit, q.retry_delay, q.retry_backoff, q.policy, q.heartbeat_seconds
      from inserted i, pgboss.queue q where q.name = 'invocations'
  )
  select coalesce(array_agg(i.id), '{}') into made from inserted i;
  if cardinality(made) = cardinality(ids) then
    return query select g.id, false from unnest(ids) with ordinality as g (id, n) order by g.n;
    return;
  end if;
  -- A second statement, because it sees what the first one had to wait for.
  return query
    select case
        when g.id = any(made) or g.key is null then g.id
        else (select k.id from triggerfs.queue_items k where k.team_id = (rules -> (g.rule - 1) ->> 'team')::integer
          and k.idempotency_key = g.key and k.idempotency_hash is not distinct from g.hash)
      end,
      not g.id = any(made)
    from unnest(rule_of, ids, keys, hashes) with ordinality as g (rule, id, key, hash, n) order by g.n;
end $$;

-- The same for items that are all different, one JSON object each; the payload of item n is payloads[n]. Keys of an item: id, team,
-- source, caller, service, plugin, args, trigger, schedule, due, delayMs, priority, retries, backoffMs, maxAgeMs, timeoutMs,
-- concurrencyKey, idempotencyKey, idempotencyHash (hex), onSuccess, onFailure, depth, sealed. Without an id an item gets one.
create function triggerfs.enqueue(items jsonb, payloads bytea[]) returns table (id uuid, existing boolean)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  select b.id, b.existing from (
    select array_agg(e.n::integer order by e.n) as rule_of,
      array_agg(coalesce((e.item ->> 'id')::uuid, triggerfs.uuid_v7()) order by e.n) as ids,
      array_agg(e.item ->> 'idempotencyKey' order by e.n) as keys,
      array_agg(decode(e.item ->> 'idempotencyHash', 'hex') order by e.n) as hashes
    from jsonb_array_elements(items) with ordinality e (item, n)) g,
    triggerfs.enqueue_batch(items, g.rule_of, g.ids, g.keys, g.hashes, payloads) b
$$;

-- Refuses an invocation that its caller may not make: SQLSTATE TF010 with the code of the error as hint. The user null is an
-- application, which sees what the whole team sees.
create function triggerfs.assert_callable(team integer, account integer, service text, plugin text, args jsonb) returns void
  language plpgsql stable security definer set search_path = triggerfs, pg_temp as $$
declare
  home text := (select t.name from triggerfs.teams t where t.id = team);
  foreign_team text := case when position('/' in service) > 0 then split_part(service, '/', 1) end;
  wanted text := regexp_replace(service, '^[^/]*/', '');
  found record;
  refused text;
begin
  if service !~ '^([A-Za-z0-9_][A-Za-z0-9_.-]{0,62}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_NAME', message = format('%s is not the name of a service', quote_nullable(left(service, 64)));
  elsif plugin !~ '^[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})?$' then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_NAME', message = format('%s is not the name of a plugin', quote_nullable(left(plugin, 64)));
  elsif jsonb_typeof(args) <> 'object' or octet_length(args::text) > 65536 then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_ARGUMENT', message = 'arguments are an object of at most 64 KiB';
  end if;
  select a.key into refused from jsonb_each(args) a
    where a.key !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$' or jsonb_typeof(a.value) not in ('string', 'number', 'boolean') limit 1;
  if refused is not null then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_ARGUMENT', message = format('%s is not the name of an argument, or its value is no text', quote_literal(left(refused, 64)));
  end if;
  if foreign_team is not null and lower(foreign_team) <> lower(home) then
    select s.name, s.plugins into found from triggerfs.services s join triggerfs.teams t on t.id = s.team_id
      where lower(t.name) = lower(foreign_team) and lower(s.name) = lower(wanted) and s.visibility = 'public';
    if found is null then
      raise exception using errcode = 'TF010', hint = 'TFS_WRONG_TEAM', message = format('team %s offers no public service %s', foreign_team, wanted);
    end if;
  else
    select s.name, s.plugins into found from triggerfs.services s
      where s.team_id = team and lower(s.name) = lower(wanted) and (s.visibility <> 'local' or s.owner_id = account);
    if found is null and not exists (select from triggerfs.workers w where w.team_id = team and lower(w.identity) = lower(wanted)) then
      raise exception using errcode = 'TF010', hint = 'TFS_UNKNOWN_SERVICE', message = format('service %s does not exist in team %s', wanted, home);
    end if;
  end if;
  if found.plugins is not null and not plugin = any(found.plugins) then
    raise exception using errcode = 'TF010', hint = 'TFS_PLUGIN_NOT_ALLOWED', message = format('service %s does not allow plugin %s', found.name, plugin);
  end if;
end $$;

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

-- Accepts one invocation in the caller's own transaction: it exists when that commits, and never did when it rolls back.
-- Options: delay, timeout, backoff, max_age (intervals), priority, retries, concurrency_key, idempotency_key, on_success, on_failure.
create function triggerfs.invoke(service text, plugin text, payload bytea, args jsonb default '{}', options jsonb default '{}') returns uuid
  language plpgsql security definer set search_path = triggerfs, public, pg_temp as $$
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
      encode(digest(convert_to(concat_ws('|', service, plugin, args::text, options::text, encode(payload, 'hex')), 'UTF8'), 'sha256'), 'hex') end,
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

-- The trigger of a path that a caller sees (a null account sees what the team sees), with its rule; null when there is none.
create function triggerfs.queue_trigger(team integer, account integer, wanted text)
  returns table (id integer, service text, plugin text, args jsonb, timeout_ms integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, s.name, t.plugin, t.args, t.timeout_ms
    from triggerfs.triggers t
    join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
    left join triggerfs.services s on s.team_id = t.team_id and s.id = t.service_id
    where t.team_id = team and d.path || '/' || t.name = wanted and (t.visibility <> 'local' or t.owner_id = account)
$$;

-- Refuses a follow-up that cannot be: as assert_callable.
create function triggerfs.assert_follow_up(team integer, account integer, follow jsonb) returns void
  language plpgsql stable security definer set search_path = triggerfs, pg_temp as $$
begin
  if follow is null or jsonb_typeof(follow) = 'null' then
    return;
  elsif jsonb_typeof(follow) <> 'object' or (select count(*) from jsonb_object_keys(follow)) <> 1
      or not (follow ? 'trigger' or follow ? 'callback') then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_REQUEST', message = 'a follow-up is {"trigger": "/path"} or {"callback": "https://..."}';
  elsif follow ? 'trigger' and not exists (
      select from triggerfs.queue_trigger(team, account, follow ->> 'trigger') t where t.service is not null and t.plugin is not null) then
    raise exception using errcode = 'TF010', hint = 'TFS_NOT_FOUND', message = format('there is no trigger %s with a service and a plugin', left(follow ->> 'trigger', 200));
  elsif follow ? 'callback' and (follow ->> 'callback' !~ '^https?://[^/]' or length(follow ->> 'callback') > 2048) then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_REQUEST', message = 'a callback is an http or https address';
  end if;
end $$;

-- Takes fetched items: what is to be done with each, and all that is needed for it. Items above the limit of their service (of
-- theirs in a team, 200 when none is set) or whose key is busy are parked. Serialised for each service and key by advisory locks.
create function triggerfs.queue_claim(items uuid[], by_dispatcher uuid)
  returns table (id uuid, action text, attempt integer, invocation_id uuid, resume_worker integer, team_id integer, team text, source text,
    caller text, service text, plugin text, args jsonb, trigger_id integer, schedule_id integer, timeout_ms integer, payload bytea,
    sealed boolean, retries_left integer, retried integer, waits integer, backoff_ms integer, accepted_at timestamptz, due_at timestamptz,
    expires_at timestamptz, cancel_requested boolean, on_success jsonb, on_failure jsonb, depth integer)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock(hashtext('triggerfs.queue'), l.key) from (
    select distinct hashtext(i.team_id || '/' || i.service_key) as key from triggerfs.queue_items i where i.id = any(items) and i.state = 'queued'
    union select distinct hashtext(i.team_id || '=' || i.concurrency_key) from triggerfs.queue_items i
      where i.id = any(items) and i.state = 'queued' and i.concurrency_key is not null
    order by 1) l;
  perform from triggerfs.queue_items i where i.id = any(items) order by i.id for update;
  return query
  with taken as materialized (
    select i.*, i.state = 'running' or i.uncertain as again,
      case when i.state not in ('queued', 'running') then 'gone' when i.state = 'running' then 'run'
        when i.cancel_requested then 'cancel' when i.expires_at <= now() then 'expire' else 'run' end as wish
    from triggerfs.queue_items i where i.id = any(items)
  ), groups as (
    select g.team_id, g.service_key,
      case when h.held_until > now() then 0 when h.holds > 0 then least(1, g.cap) else g.cap end
        - (select count(*) from triggerfs.queue_items r where r.team_id = g.team_id and r.service_key = g.service_key and r.state = 'running') as free
    from (select distinct t.team_id, t.service_key,
        coalesce((select s.queue_concurrency from triggerfs.services s where s.team_id = t.team_id
          and lower(s.name) in (t.service_key, split_part(t.service_key, '/', 2))), 200) as cap
      from taken t where t.wish = 'run' and t.state = 'queued') g
    left join triggerfs.queue_holds h on h.team_id = g.team_id and h.service_key = g.service_key
  ), ranked as (
    select t.id,
      t.concurrency_key is null or (row_number() over (partition by t.team_id, t.concurrency_key order by t.priority desc, t.due_at, t.id) = 1
        and not exists (select from triggerfs.queue_items b
          where b.team_id = t.team_id and b.concurrency_key = t.concurrency_key and b.state = 'running')) as key_free,
      t.team_id, t.service_key, t.priority, t.due_at
    from taken t where t.wish = 'run' and t.state = 'queued'
  ), admitted as (
    select r.id from (
      select k.*, row_number() over (partition by k.team_id, k.service_key order by k.priority desc, k.due_at, k.id) as place
      from ranked k where k.key_free) r
    join groups g on g.team_id = r.team_id and g.service_key = r.service_key where r.place <= g.free
  ), decided as materialized (
    select t.id, case when t.wish = 'run' and t.state = 'queued' and t.id not in (select a.id from admitted a) then 'park' else t.wish end as action
    from taken t
  ), parked as (
    update triggerfs.queue_items i set parked = 1 from decided d where i.id = d.id and d.action = 'park' returning i.id
  ), begun as (
    update triggerfs.queue_items i set state = 'running', parked = 0, attempt = i.attempt + 1, dispatcher = by_dispatcher, started_at = now(),
        uncertain = false, invocation_id = case when i.attempt = 0 then i.id when t.again then i.invocation_id else triggerfs.uuid_v7() end
      from decided d join taken t on t.id = d.id where i.id = d.id and d.action in ('run', 'expire', 'cancel')
      returning i.id, i.attempt, i.invocation_id
  ), noted as (
    insert into triggerfs.queue_attempts (item_id, attempt, team_id, invocation_id, dispatcher, resumed)
      select b.id, b.attempt, t.team_id, b.invocation_id, by_dispatcher, t.again from begun b join taken t on t.id = b.id
  ), unneeded as (
    delete from pgboss.job j where j.name = 'invocations' and j.id in (
      select d.id from decided d where d.action in ('park', 'gone') union all select u.id from unnest(items) u (id) where u.id not in (select t.id from taken t))
  )
  select t.id, case when d.action = 'run' and t.again and b.attempt > 1 then 'resume' else d.action end, b.attempt, b.invocation_id,
    case when t.again then (
      select w.id from triggerfs.queue_attempts a join triggerfs.workers w on lower(w.identity) = lower(a.worker)
        where a.item_id = t.id and a.invocation_id = b.invocation_id and a.worker <> ''
          and w.team_id = case when position('/' in t.service) = 0 then t.team_id
            else (select o.id from triggerfs.teams o where lower(o.name) = lower(split_part(t.service, '/', 1))) end
        order by a.attempt desc limit 1) end,
    t.team_id, n.name, t.source, t.caller, t.service, t.plugin, t.args, t.trigger_id, t.schedule_id, t.timeout_ms, t.payload, t.sealed,
    (t.retries - t.retried)::integer, t.retried::integer, t.waits::integer, t.backoff_ms, t.accepted_at::timestamptz, t.due_at::timestamptz,
    t.expires_at::timestamptz, t.cancel_requested, t.on_success, t.on_failure, t.depth::integer
  from taken t join decided d on d.id = t.id left join begun b on b.id = t.id left join triggerfs.teams n on n.id = t.team_id
  where d.action <> 'gone';
end $$;

-- Gives parked items of a service a job again, as many as its limit has room for.
create function triggerfs.queue_release(team integer, key text) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  free integer;
  released uuid[];
begin
  select case when h.held_until > now() then 0 when h.holds > 0 then least(1, c.cap) else c.cap end
      - (select count(*) from triggerfs.queue_items r where r.team_id = team and r.service_key = key and r.state = 'running')
      - (select count(*) from triggerfs.queue_items r where r.team_id = team and r.service_key = key and r.state = 'queued' and r.parked = 2)
    into free
    from (select coalesce((select s.queue_concurrency from triggerfs.services s where s.team_id = team
      and lower(s.name) in (key, split_part(key, '/', 2))), 200) as cap) c
    left join triggerfs.queue_holds h on h.team_id = team and h.service_key = key;
  if free <= 0 then
    return 0;
  end if;
  with next as (
    select i.id from triggerfs.queue_items i
      where i.team_id = team and i.service_key = key and i.state = 'queued' and i.parked = 1
        and (i.concurrency_key is null or not exists (select from triggerfs.queue_items b
          where b.team_id = team and b.concurrency_key = i.concurrency_key and b.state = 'running'))
      order by i.priority desc, i.due_at limit free for update skip locked
  ), freed as (
    update triggerfs.queue_items i set parked = 2 from next n where i.id = n.id returning i.id
  )
  select array_agg(f.id) into released from freed f;
  perform triggerfs.queue_jobs(released);
  return coalesce(cardinality(released), 0);
end $$;

-- Ends attempts. Each outcome: id, attempt, state (one of the end, or `queued` for another attempt), verdict, exitCode, error, detail,
-- worker, delayMs, retried (it counts as a retry), hold (the service had no worker or no room), uncertain, sends. What a later attempt has
-- overtaken is noted with that attempt and changes nothing. Returns the items that were settled, with the state they have now.
create function triggerfs.queue_settle(outcomes jsonb, answers bytea[]) returns table (id uuid, state text)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
#variable_conflict use_column
declare
  settled jsonb;
  place record;
begin
  perform from triggerfs.queue_items i where i.id in (select (o ->> 'id')::uuid from jsonb_array_elements(outcomes) o) order by i.id for update;
  with given as materialized (
    select g.* from rows from (jsonb_to_recordset(outcomes) as (
      id uuid, attempt integer, state text, verdict text, "exitCode" integer, error text, detail text, worker text, "delayMs" bigint,
      retried boolean, hold boolean, uncertain boolean, sends integer
    )) with ordinality as g (id, attempt, state, verdict, "exitCode", error, detail, worker, "delayMs", retried, hold, uncertain, sends, n)
  ), changed as (
    update triggerfs.queue_items i set
        state = case when g.state = 'queued' and i.cancel_requested then 'cancelled' else g.state end,
        verdict = case when g.state = 'queued' and not i.cancel_requested then null else g.verdict end,
        exit_code = case when g.state = 'queued' and not i.cancel_requested then null else g."exitCode" end,
        ended_at = case when g.state = 'queued' and not i.cancel_requested then null else now() end,
        error = g.error, detail = left(coalesce(g.detail, ''), 2000), dispatcher = null, uncertain = coalesce(g.uncertain, false),
        due_at = case when g.state = 'queued' then least(now() + coalesce(g."delayMs", 0) * interval '1 ms', greatest(i.expires_at, now())) else i.due_at end,
        parked = case when g.state = 'queued' and g.hold and not i.cancel_requested then 1 else 0 end,
        retried = i.retried + coalesce(g.retried, false)::integer,
        waits = case when coalesce(g.hold, false) then least(i.waits + 1, 30000) else 0 end,
        -- Nobody needs the input of what went well again.
        payload = case when g.state = 'done' then null else i.payload end,
        answer = coalesce(answers[g.n], i.answer)
      from given g where i.id = g.id and i.attempt = g.attempt and i.state = 'running'
      returning i.id, i.state, i.parked, i.team_id, i.service_key, coalesce(g.hold, false) as hold, coalesce(g."delayMs", 0) as delay,
        i.concurrency_key
  ), noted as (
    update triggerfs.queue_attempts a set ended_at = now(), verdict = g.verdict, exit_code = g."exitCode", error = g.error,
        detail = left(coalesce(g.detail, ''), 2000), worker = coalesce(nullif(g.worker, ''), a.worker), sends = coalesce(least(g.sends, 30000), a.sends),
        late = g.id not in (select c.id from changed c)
      from given g where a.item_id = g.id and a.attempt = g.attempt and a.ended_at is null
  ), forgotten as (
    -- An item that waits for a worker is tried again and again: the newest of these attempts are enough.
    delete from triggerfs.queue_attempts a using changed c, given g
      where a.item_id = c.id and g.id = c.id and c.hold and a.attempt < g.attempt - 10 and a.verdict in ('no-worker', 'busy')
  ), unneeded as (
    delete from pgboss.job j using changed c where j.name = 'invocations' and j.id = c.id
  )
  select jsonb_agg(to_jsonb(c)) into settled from changed c;
  if settled is null then
    return;
  end if;
  perform triggerfs.queue_jobs(array(select (c ->> 'id')::uuid from jsonb_array_elements(settled) c where c ->> 'state' = 'queued' and c ->> 'parked' = '0'));
  for place in
    select (c ->> 'team_id')::integer as team_id, c ->> 'service_key' as service_key, bool_and((c ->> 'hold')::boolean) as hold,
      max((c ->> 'delay')::bigint) as delay
    from jsonb_array_elements(settled) c group by 1, 2 order by 1, 2
  loop
    if place.hold then
      insert into triggerfs.queue_holds as h (team_id, service_key, held_until)
        values (place.team_id, place.service_key, now() + place.delay * interval '1 ms')
        on conflict (team_id, service_key) do update set holds = least(h.holds + 1, 30000), held_until = excluded.held_until
          where h.held_until <= now();
    else
      delete from triggerfs.queue_holds h where h.team_id = place.team_id and h.service_key = place.service_key;
      perform triggerfs.queue_release(place.team_id, place.service_key);
    end if;
  end loop;
  -- A key that is free again may have made items of other services wait.
  perform triggerfs.queue_release(p.team_id, p.service_key) from (
    select distinct i.team_id, i.service_key from jsonb_array_elements(settled) c join triggerfs.queue_items i
      on i.team_id = (c ->> 'team_id')::integer and i.concurrency_key = c ->> 'concurrency_key' and i.state = 'queued' and i.parked = 1
      where c ->> 'concurrency_key' is not null) p;
  return query select (c ->> 'id')::uuid, c ->> 'state' from jsonb_array_elements(settled) c;
end $$;

-- Notes which worker has a run, so that it is asked after a crash of the dispatcher.
create function triggerfs.queue_started(items uuid[], attempts integer[], workers text[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.queue_attempts a set worker = g.worker
    from unnest(items, attempts, workers) g (item, attempt, worker) where a.item_id = g.item and a.attempt = g.attempt and a.ended_at is null
$$;

-- Seals payloads that came in clear.
create function triggerfs.queue_seal(items uuid[], payloads bytea[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.queue_items i set payload = g.payload, sealed = true from unnest(items, payloads) g (id, payload) where i.id = g.id and not i.sealed
$$;

-- Running items of a dispatcher whose end was asked for.
create function triggerfs.queue_cancelled(by_dispatcher uuid) returns table (id uuid)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select i.id from triggerfs.queue_items i where i.dispatcher = by_dispatcher and i.state = 'running' and i.cancel_requested
$$;

-- Asks for the end of an item: a queued one ends at once. Returns the state it has now; null when the team has no such item.
create function triggerfs.queue_cancel(team integer, item uuid) returns text
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  was record;
begin
  select i.state, i.service_key into was from triggerfs.queue_items i where i.id = item and i.team_id = team for update;
  if was.state = 'queued' then
    update triggerfs.queue_items i set state = 'cancelled', verdict = 'cancelled', error = 'TFS_CANCELLED', detail = 'cancelled before it ran',
      ended_at = now(), parked = 0, cancel_requested = true where i.id = item;
    delete from pgboss.job j where j.name = 'invocations' and j.id = item;
    return 'cancelled';
  elsif was.state = 'running' then
    update triggerfs.queue_items i set cancel_requested = true where i.id = item;
  end if;
  return was.state;
end $$;

-- Puts ended items of a team back into the queue with all their retries and a new max age, and returns their number.
create function triggerfs.queue_redrive(team integer, items uuid[]) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  back uuid[];
begin
  with changed as (
    update triggerfs.queue_items i set state = 'queued', parked = 0, retried = 0, waits = 0, uncertain = false, cancel_requested = false,
        due_at = now(), expires_at = now() + i.max_age_ms * interval '1 ms', ended_at = null, verdict = null, exit_code = null, error = null,
        detail = '', answer = null
      where i.team_id = team and i.id = any(items) and i.state in ('dead', 'expired', 'cancelled') returning i.id
  )
  select array_agg(c.id) into back from changed c;
  perform triggerfs.queue_jobs(back);
  return coalesce(cardinality(back), 0);
end $$;

-- Fires the trigger file that follows an item, with its result as payload. Returns the new item; null when the trigger is gone,
-- has no rule any more, or follows too many others: then a letter says so.
create function triggerfs.queue_follow(item uuid, follow text, new_id uuid, body bytea) returns uuid
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  parent record;
  rule record;
  made uuid;
begin
  select i.id, i.team_id, i.caller, i.depth, i.priority into parent from triggerfs.queue_items i where i.id = item;
  select t.* into rule from triggerfs.queue_trigger(parent.team_id, (
    select m.user_id from triggerfs.memberships m join triggerfs.users u on u.id = m.user_id
      where m.team_id = parent.team_id and lower(u.identity) = lower(parent.caller)), follow) t;
  if rule.service is null or rule.plugin is null or parent.depth >= 8 then
    perform triggerfs.send_mail(parent.team_id, null, 'queue', format('The follow-up %s did not fire', left(follow, 100)),
      format('It follows invocation %s. %s', parent.id,
        case when parent.depth >= 8 then 'Follow-ups of follow-ups end after eight.' else 'There is no trigger with a service and a plugin there.' end));
    return null;
  end if;
  select e.id into made from triggerfs.enqueue(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('id', new_id, 'team', parent.team_id,
    'source', 'api', 'caller', parent.caller, 'service', rule.service, 'plugin', rule.plugin, 'args', rule.args, 'trigger', rule.id,
    'timeoutMs', rule.timeout_ms, 'priority', parent.priority, 'depth', parent.depth + 1, 'sealed', true))), array[body]) e;
  return made;
end $$;

-- Notes a result that is to be posted; graphile-worker tries for about a day.
create function triggerfs.queue_callback(item uuid, new_id uuid, address text, content bytea) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  insert into triggerfs.queue_callbacks (id, team_id, item_id, url, body)
    select new_id, i.team_id, i.id, address, content from triggerfs.queue_items i where i.id = item;
  perform graphile_worker.add_job('queue_callback', json_build_object('id', new_id), max_attempts => 15);
end $$;

-- Looks after what waits without a job, every few seconds: services with room again, items that grew too old. Returns how many items
-- are in each state that is not the end, and how long the oldest that is due has waited.
create function triggerfs.queue_sweep() returns table (queued bigint, running bigint, dead bigint, oldest_ms bigint)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  old uuid[];
begin
  with changed as (
    update triggerfs.queue_items i set parked = 2, due_at = now() where i.id in (
      select p.id from triggerfs.queue_items p where p.state = 'queued' and p.parked = 1 and p.expires_at <= now() limit 1000 for update skip locked)
      returning i.id
  )
  select array_agg(c.id) into old from changed c;
  perform triggerfs.queue_jobs(old);
  perform triggerfs.queue_release(p.team_id, p.service_key)
    from (select distinct i.team_id, i.service_key from triggerfs.queue_items i where i.state = 'queued' and i.parked = 1) p;
  -- Team by team, along the index: what ended well, a week of it, is not looked at. The oldest is looked for among those accepted first.
  return query select coalesce(sum(c.queued), 0)::bigint, coalesce(sum(c.running), 0)::bigint, coalesce(sum(c.dead), 0)::bigint,
      coalesce((extract(epoch from now() - min(c.oldest)) * 1000)::bigint, 0)
    from triggerfs.teams t cross join lateral (select
      (select count(*) from triggerfs.queue_items i where i.team_id = t.id and i.state = 'queued') as queued,
      (select count(*) from triggerfs.queue_items i where i.team_id = t.id and i.state = 'running') as running,
      (select count(*) from triggerfs.queue_items i where i.team_id = t.id and i.state = 'dead') as dead,
      (select min(f.due_at) from (select i.due_at from triggerfs.queue_items i where i.team_id = t.id and i.state = 'queued' order by i.id limit 1000) f
        where f.due_at <= now()) as oldest) c;
end $$;

-- Hourly: forgets what ended long ago (a week; dead letters a month) and gives items a job whose job is lost. Returns both numbers.
create function triggerfs.queue_repair() returns table (forgotten bigint, repaired bigint)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  lost uuid[];
  gone bigint;
begin
  -- Ids begin with the time, so that only old rows are looked at.
  delete from triggerfs.queue_items i where i.id < overlay(triggerfs.uuid_v7()::text placing
      lpad(to_hex((extract(epoch from now() - interval '7 days') * 1000)::bigint >> 16), 8, '0') from 1 for 8)::uuid
    and i.ended_at < now() - case when i.state in ('dead', 'expired') then interval '30 days' else interval '7 days' end;
  get diagnostics gone = row_count;
  delete from triggerfs.queue_callbacks c where c.created_at < now() - interval '30 days';
  delete from triggerfs.queue_holds h where h.held_until < now() - interval '1 day';
  select array_agg(i.id) into lost from triggerfs.queue_items i
    where i.state in ('queued', 'running') and i.parked <> 1 and coalesce(i.started_at, i.accepted_at) < now() - interval '5 minutes'
      and not exists (select from pgboss.job j where j.name = 'invocations' and j.id = i.id);
  perform triggerfs.queue_jobs(lost);
  return query select gone, coalesce(cardinality(lost), 0)::bigint;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.enqueue(jsonb, bytea[]), triggerfs.enqueue_batch(jsonb, integer[], uuid[], text[], bytea[], bytea[]) to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on function triggerfs.assert_callable(integer, integer, text, text, jsonb), triggerfs.assert_follow_up(integer, integer, jsonb),
  triggerfs.queue_cancel(integer, uuid), triggerfs.queue_redrive(integer, uuid[]) to triggerfs_app;
grant execute on function triggerfs.application_team(), triggerfs.invocation(uuid), triggerfs.milliseconds(text),
  triggerfs.invoke(text, text, bytea, jsonb, jsonb), triggerfs.invoke(text, text, text, jsonb, jsonb) to triggerfs_application, triggerfs_app, triggerfs_jobs;
grant execute on function triggerfs.queue_claim(uuid[], uuid), triggerfs.queue_settle(jsonb, bytea[]), triggerfs.queue_started(uuid[], integer[], text[]),
  triggerfs.queue_seal(uuid[], bytea[]), triggerfs.queue_cancelled(uuid), triggerfs.queue_follow(uuid, text, uuid, bytea),
  triggerfs.queue_callback(uuid, uuid, text, bytea), triggerfs.queue_sweep(), triggerfs.queue_repair(), triggerfs.queue_release(integer, text)
  to triggerfs_jobs;
