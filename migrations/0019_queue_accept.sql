-- The way into the queue: who may call what, and the bulk insert behind every door.

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

-- Items as rows: what many have in common is said once, so item n has the rule rules[rule_of[n]], whose keys are those of `enqueue`.
create function triggerfs.ruled_items(rules jsonb, rule_of integer[], ids uuid[], keys text[], hashes bytea[], payloads bytea[])
  returns table (id uuid, team_id integer, source text, caller text, service text, plugin text, args jsonb, trigger_id integer, schedule_id integer,
    priority smallint, concurrency_key text, idempotency_key text, idempotency_hash bytea, timeout_ms integer, retries smallint, backoff_ms integer,
    max_age_ms bigint, depth smallint, due_at timestamptz, expires_at timestamptz, payload bytea, sealed boolean, on_success jsonb, on_failure jsonb)
  language sql stable as $$
  with rule as materialized (
    select r.*, coalesce(r.due, now()) + coalesce(r."delayMs", 0) * interval '1 ms' as due_at
    from rows from (jsonb_to_recordset(rules) as (
      team integer, source text, caller text, service text, plugin text, args jsonb, trigger integer, schedule integer, due timestamptz,
      "delayMs" bigint, priority smallint, retries smallint, "backoffMs" integer, "maxAgeMs" bigint, "timeoutMs" integer,
      "concurrencyKey" text, "onSuccess" jsonb, "onFailure" jsonb, depth smallint, sealed boolean
    )) with ordinality as r (team, source, caller, service, plugin, args, trigger, schedule, due, "delayMs", priority, retries, "backoffMs",
      "maxAgeMs", "timeoutMs", "concurrencyKey", "onSuccess", "onFailure", depth, sealed, n)
  )
  select g.id, r.team, r.source, coalesce(r.caller, ''), r.service, r.plugin, coalesce(r.args, '{}'), r.trigger, r.schedule,
    coalesce(r.priority, 0::smallint), r."concurrencyKey", g.key, g.hash, r."timeoutMs", coalesce(r.retries, 0::smallint), coalesce(r."backoffMs", 1000),
    coalesce(r."maxAgeMs", 86400000), coalesce(r.depth, 0::smallint), r.due_at,
    r.due_at + coalesce(r."maxAgeMs", 86400000) * interval '1 ms', g.payload, coalesce(r.sealed, false),
    nullif(r."onSuccess", 'null'), nullif(r."onFailure", 'null')
  from unnest(rule_of, ids, keys, hashes, payloads) as g (rule, id, key, hash, payload) join rule r on r.n = g.rule
$$;

-- Accepts items for later, all or none; `keys` and `hashes` are null when all items are without a key. Only what was not inserted is told:
-- a row for each item `n` whose id or whose team's idempotency key was there already, with that item's id; null when the key belongs to
-- another request (another hash).
create function triggerfs.enqueue_batch(rules jsonb, rule_of integer[], ids uuid[], keys text[], hashes bytea[], payloads bytea[])
  returns table (n integer, id uuid)
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
#variable_conflict use_column
declare
  made uuid[];
begin
  perform triggerfs.check_queue_plans(rules, rule_of, ids, keys);
  -- Without keys only a repeated statement brings what is there already. A row that is inserted without asking costs a fifth less.
  if keys is null then
    begin
      with inserted as (
        insert into triggerfs.queue_items as i (id, team_id, source, caller, service, plugin, args, trigger_id, schedule_id, priority,
            concurrency_key, idempotency_key, idempotency_hash, timeout_ms, retries, backoff_ms, max_age_ms, depth, due_at, expires_at,
            payload, sealed, on_success, on_failure)
          select * from triggerfs.ruled_items(rules, rule_of, ids, null, null, payloads)
          returning i.id, i.priority, i.due_at
      )
      insert into pgboss.job (id, name, priority, start_after, expire_seconds, deletion_seconds, keep_until, retry_limit, retry_delay,
          retry_backoff, policy, heartbeat_seconds)
        select i.id, q.name, i.priority, i.due_at, q.expire_seconds, q.deletion_seconds, i.due_at + q.retention_seconds * interval '1 s',
          q.retry_limit, q.retry_delay, q.retry_backoff, q.policy, q.heartbeat_seconds
        from inserted i, pgboss.queue q where q.name = 'invocations';
      return;
    exception when unique_violation then
      null;
    end;
  end if;
  with inserted as (
    insert into triggerfs.queue_items as i (id, team_id, source, caller, service, plugin, args, trigger_id, schedule_id, priority,
        concurrency_key, idempotency_key, idempotency_hash, timeout_ms, retries, backoff_ms, max_age_ms, depth, due_at, expires_at,
        payload, sealed, on_success, on_failure)
      select * from triggerfs.ruled_items(rules, rule_of, ids, keys, hashes, payloads) r
      -- In the order of the keys, so that two statements with the same keys do not wait for each other.
      order by r.team_id, r.idempotency_key nulls first, r.id
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
    return;
  end if;
  -- A second statement, because it sees what the first one had to wait for.
  return query
    select g.n::integer, case when g.key is null then g.id
        else (select k.id from triggerfs.queue_items k where k.team_id = (rules -> (g.rule - 1) ->> 'team')::integer
          and k.idempotency_key = g.key and k.idempotency_hash is not distinct from g.hash)
      end
    from unnest(rule_of, ids, keys, hashes) with ordinality as g (rule, id, key, hash, n)
    where g.id <> all(made);
end $$;

-- The same for items that are all different, one JSON object each; the payload of item n is payloads[n]. Keys of an item: id, team,
-- source, caller, service, plugin, args, trigger, schedule, due, delayMs, priority, retries, backoffMs, maxAgeMs, timeoutMs,
-- concurrencyKey, idempotencyKey, idempotencyHash (hex), onSuccess, onFailure, depth, sealed. Without an id an item gets one.
create function triggerfs.enqueue(items jsonb, payloads bytea[]) returns table (id uuid, existing boolean)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  with given as materialized (
    select array_agg(e.n::integer order by e.n) as rule_of,
      array_agg(coalesce((e.item ->> 'id')::uuid, triggerfs.uuid_v7()) order by e.n) as ids,
      case when count(e.item ->> 'idempotencyKey') > 0 then array_agg(e.item ->> 'idempotencyKey' order by e.n) end as keys,
      case when count(e.item ->> 'idempotencyKey') > 0 then array_agg(decode(e.item ->> 'idempotencyHash', 'hex') order by e.n) end as hashes
    from jsonb_array_elements(items) with ordinality e (item, n)
  ), known as materialized (
    select b.n, b.id from given g, triggerfs.enqueue_batch(items, g.rule_of, g.ids, g.keys, g.hashes, payloads) b
  )
  select case when k.n is null then e.id else k.id end, k.n is not null
    from given g, unnest(g.ids) with ordinality as e (id, n) left join known k on k.n = e.n order by e.n
$$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.enqueue(jsonb, bytea[]), triggerfs.enqueue_batch(jsonb, integer[], uuid[], text[], bytea[], bytea[]) to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on function triggerfs.assert_callable(integer, integer, text, text, jsonb) to triggerfs_app;
