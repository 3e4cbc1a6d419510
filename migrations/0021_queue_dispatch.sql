-- What a dispatcher does with fetched items: take them, note how they go, settle them.

-- Takes fetched items: what is to be done with each, and all that is needed for it. Items above the limit of their service (of
-- theirs in a team, 200 when none is set) or whose key is busy are parked. Serialised for each service and key by advisory locks.
create function triggerfs.queue_claim(items uuid[], by_dispatcher uuid)
  returns table (id uuid, action text, attempt integer, invocation_id uuid, resume_worker integer, team_id integer, team text, source text,
    caller text, service text, plugin text, args jsonb, trigger_id integer, schedule_id integer, timeout_ms integer, payload bytea,
    sealed boolean, retries_left integer, retried integer, waits integer, losses integer, backoff_ms integer, age_ms float8,
    accepted_at timestamptz, due_at timestamptz, expires_at timestamptz, cancel_requested boolean, on_success jsonb, on_failure jsonb, depth integer)
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
    (t.retries - t.retried)::integer, t.retried::integer, t.waits::integer,
    -- Workers that were lost with it, perhaps before they began.
    case when t.attempt = 0 then 0 else (select count(*)::integer from triggerfs.queue_attempts a
      where a.item_id = t.id and a.verdict = 'no-worker' and a.error = 'TFS_WORKER_LOST') end,
    t.backoff_ms, (extract(epoch from now() - t.accepted_at) * 1000)::float8, t.accepted_at::timestamptz, t.due_at::timestamptz,
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
    -- An item that waits for a worker is tried again and again: the newest of these attempts are enough. What a worker may have begun stays.
    delete from triggerfs.queue_attempts a using changed c, given g
      where a.item_id = c.id and g.id = c.id and c.hold and a.attempt < g.attempt - 10 and a.verdict in ('no-worker', 'busy')
        and a.error is distinct from 'TFS_WORKER_LOST'
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
  -- A key that is free again may have made items of other services wait. Key by key along the index, however many others wait.
  perform triggerfs.queue_release(p.team_id, p.service_key) from (
    select distinct k.team_id, w.service_key
      from (select distinct (c ->> 'team_id')::integer as team_id, c ->> 'concurrency_key' as key from jsonb_array_elements(settled) c
        where c ->> 'concurrency_key' is not null) k
      cross join lateral (select i.service_key from triggerfs.queue_items i
        where i.team_id = k.team_id and i.concurrency_key = k.key and i.state = 'queued' and i.parked = 1 offset 0) w) p;
  return query select (c ->> 'id')::uuid, c ->> 'state' from jsonb_array_elements(settled) c;
end $$;

-- Notes which worker has a run, so that it is asked after a crash of the dispatcher.
create function triggerfs.queue_started(items uuid[], attempts integer[], workers text[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.queue_attempts a set worker = g.worker
    from unnest(items, attempts, workers) g (item, attempt, worker) where a.item_id = g.item and a.attempt = g.attempt and a.ended_at is null
$$;

-- Notes that the requests of attempts go out once more (`sent`: how often then), before they do. Returns the items of which that is still
-- the newest attempt; the others are not sent.
create function triggerfs.queue_resent(items uuid[], attempts integer[], sent integer[]) returns table (id uuid)
  language sql security definer set search_path = triggerfs, pg_temp as $$
  with newest as materialized (
    select i.id, i.attempt, g.sent from unnest(items, attempts, sent) g (item, attempt, sent)
      join triggerfs.queue_items i on i.id = g.item and i.attempt = g.attempt and i.state = 'running'
      order by i.id for share of i
  )
  update triggerfs.queue_attempts a set sends = greatest(a.sends, least(n.sent, 30000))
    from newest n where a.item_id = n.id and a.attempt = n.attempt and a.ended_at is null returning a.item_id
$$;

-- Seals payloads that came in clear; an item that has ended in the meantime gets nothing back.
create or replace function triggerfs.queue_seal(items uuid[], payloads bytea[]) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  update triggerfs.queue_items i set payload = g.payload, sealed = true from unnest(items, payloads) g (id, payload)
    where i.id = g.id and not i.sealed and i.payload is not null
$$;

-- Running items of a dispatcher whose end was asked for.
create function triggerfs.queue_cancelled(by_dispatcher uuid) returns table (id uuid)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select i.id from triggerfs.queue_items i where i.dispatcher = by_dispatcher and i.state = 'running' and i.cancel_requested
$$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.queue_claim(uuid[], uuid), triggerfs.queue_release(integer, text), triggerfs.queue_settle(jsonb, bytea[]),
  triggerfs.queue_started(uuid[], integer[], text[]), triggerfs.queue_resent(uuid[], integer[], integer[]),
  triggerfs.queue_seal(uuid[], bytea[]), triggerfs.queue_cancelled(uuid) to triggerfs_jobs;
