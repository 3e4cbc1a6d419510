-- Accepting for later with less work for each item: what is told are the items that were there already, mostly none, and a job is not
-- checked against the queue that it is in.

-- pg-boss checks the queue and the dead letter queue of each job against its table of queues. The table of this queue takes jobs of
-- no other one by its own check, and items have dead letters of their own.
do $$
begin
  execute (select format('alter table pgboss.%I drop constraint if exists q_fkey, drop constraint if exists dlq_fkey', q.table_name)
    from pgboss.queue q where q.name = 'invocations' and q.partition);
end $$;

drop function triggerfs.enqueue_batch(jsonb, integer[], uuid[], text[], bytea[], bytea[]);

-- Accepts items for later, all or none. What many items have in common is said once: item n has the rule rules[rule_of[n]], whose keys
-- are those of `enqueue`; null for keys and hashes where no item has any. Only what was not inserted is told: a row for each item `n` whose
-- id or whose team's idempotency key was there already, with that item's id; null when the key belongs to another request (another hash).
create function triggerfs.enqueue_batch(rules jsonb, rule_of integer[], ids uuid[], keys text[], hashes bytea[], payloads bytea[])
  returns table (n integer, id uuid)
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
  select array_agg(i.id) into made from inserted i;
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
    where g.id <> all(coalesce(made, '{}'));
end $$;

-- The same for items that are all different, one JSON object each; the payload of item n is payloads[n]. Keys of an item: id, team,
-- source, caller, service, plugin, args, trigger, schedule, due, delayMs, priority, retries, backoffMs, maxAgeMs, timeoutMs,
-- concurrencyKey, idempotencyKey, idempotencyHash (hex), onSuccess, onFailure, depth, sealed. Without an id an item gets one.
create or replace function triggerfs.enqueue(items jsonb, payloads bytea[]) returns table (id uuid, existing boolean)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  with given as materialized (
    select array_agg(e.n::integer order by e.n) as rule_of,
      array_agg(coalesce((e.item ->> 'id')::uuid, triggerfs.uuid_v7()) order by e.n) as ids,
      array_agg(e.item ->> 'idempotencyKey' order by e.n) as keys,
      array_agg(decode(e.item ->> 'idempotencyHash', 'hex') order by e.n) as hashes
    from jsonb_array_elements(items) with ordinality e (item, n)
  ), known as materialized (
    select b.n, b.id from given g, triggerfs.enqueue_batch(items, g.rule_of, g.ids, g.keys, g.hashes, payloads) b
  )
  select case when k.n is null then e.id else k.id end, k.n is not null
    from given g, unnest(g.ids) with ordinality as e (id, n) left join known k on k.n = e.n order by e.n
$$;

revoke execute on function triggerfs.enqueue_batch(jsonb, integer[], uuid[], text[], bytea[], bytea[]) from public;
grant execute on function triggerfs.enqueue_batch(jsonb, integer[], uuid[], text[], bytea[], bytea[]) to triggerfs_app, triggerfs_edge, triggerfs_jobs;
