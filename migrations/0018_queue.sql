-- Invocations that were accepted for later. An item is the promise, kept here with its sealed payload; pg-boss holds nothing but
-- ids: one job for each item that may be fetched. An item without a job is parked (its service or key is at its limit, or waits
-- for a worker) or has ended.
alter table triggerfs.services add queue_concurrency integer check (queue_concurrency between 1 and 100000);

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
create index queue_items_parked_key on triggerfs.queue_items (team_id, concurrency_key)
  where state = 'queued' and parked = 1 and concurrency_key is not null;
create index queue_items_lost on triggerfs.queue_items (ended_at) where state in ('dead', 'expired');

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

call triggerfs.isolate_teams('queue_items', 'queue_attempts', 'queue_holds', 'queue_callbacks', 'queue_secrets');
grant select on triggerfs.queue_items, triggerfs.queue_attempts to triggerfs_app;
grant select, insert, update on triggerfs.queue_secrets to triggerfs_app;
create policy jobs_callbacks on triggerfs.queue_callbacks to triggerfs_jobs using (true);
create policy jobs_secrets on triggerfs.queue_secrets to triggerfs_jobs using (true) with check (true);
grant select, delete on triggerfs.queue_callbacks to triggerfs_jobs;
grant select, insert on triggerfs.queue_secrets to triggerfs_jobs;

-- One queue. Its jobs have no end of their own (retention of ten years), are fetched again whenever their dispatcher is silent for
-- 15 s, and are deleted as soon as their item is settled.
select pgboss.create_queue('invocations', '{"policy": "standard", "partition": true, "retryLimit": 1000000, "retryDelay": 0,
  "expireInSeconds": 31536000, "retentionSeconds": 315360000, "deleteAfterSeconds": 3600, "heartbeatSeconds": 15, "warningQueueSize": 1000000}');

-- pg-boss checks the queue and the dead letter queue of each job against its table of queues. The table of this queue takes jobs of
-- no other one by its own check, and items have dead letters of their own.
do $$
begin
  execute (select format('alter table pgboss.%I drop constraint if exists q_fkey, drop constraint if exists dlq_fkey', q.table_name)
    from pgboss.queue q where q.name = 'invocations' and q.partition);
end $$;

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

revoke execute on all functions in schema triggerfs from public;
