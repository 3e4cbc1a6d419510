-- What ran, and what it said: written in bulk by the brokers, read by the control-plane, dropped by the day.

-- Ids of invocations are UUIDs of version 7: they begin with the milliseconds since 1970.
create function triggerfs.uuid_v7() returns uuid
  language sql volatile parallel safe
  return encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;

-- The time inside an id of version 7; null for another version.
create function triggerfs.uuid_time(id uuid) returns timestamptz
  language sql immutable strict parallel safe
  return case when get_byte(uuid_send(id), 6) >> 4 = 7
    then to_timestamp((('x' || lpad(encode(substring(uuid_send(id) from 1 for 6), 'hex'), 16, '0'))::bit(64)::bigint) / 1000.0) end;

-- One row for each request that was accepted; the verdict is null while it runs.
create table triggerfs.invocations (
  day date not null,
  id uuid not null,
  -- The caller's team.
  team_id integer not null,
  broker_id uuid not null,
  -- `service`, or `team/service` when another team offers it.
  service text not null,
  plugin text not null,
  algorithm text not null,
  source text not null check (source in ('client', 'fs', 'http', 'webhook', 'schedule', 'sql', 'api', 'worker')),
  -- Identity of the caller; empty for nobody in particular.
  caller text not null default '',
  trigger_id integer,
  schedule_id integer,
  -- The item of the queue that this is an attempt of.
  item_id uuid,
  args jsonb not null default '{}',
  -- Sealed; null when it is not kept.
  payload bytea,
  payload_bytes integer not null,
  timeout_ms integer not null,
  deadline_at timestamptz(3) not null,
  -- Runs that were expected at first.
  expected integer not null,
  accepted_at timestamptz(3) not null,
  -- When the broker that answers took it: later than `accepted_at` after a fail-over.
  taken_at timestamptz(3) not null,
  ended_at timestamptz(3),
  verdict text,
  exit_code integer,
  error text,
  detail text,
  output_bytes bigint not null default 0,
  -- Callers choose ids, so an id means something only within its team.
  primary key (id, day, team_id)
) partition by range (day);
alter table triggerfs.invocations alter column payload set storage external;
create index invocations_team on triggerfs.invocations (team_id, accepted_at desc);
create index invocations_open on triggerfs.invocations (deadline_at) where verdict is null;

-- Every list is newest first and names the team. What went well is the rule, so the index on the rest stays small.
create index invocations_service on triggerfs.invocations (team_id, service, accepted_at desc);
create index invocations_trigger on triggerfs.invocations (team_id, trigger_id, accepted_at desc) where trigger_id is not null;
create index invocations_not_ok on triggerfs.invocations (team_id, accepted_at desc) where verdict is distinct from 'ok';

-- Costs writers nearly nothing, and finds the pages of an hour.
create index invocations_ended on triggerfs.invocations using brin (ended_at) with (pages_per_range = 32);

-- One row for each attempt on a worker.
create table triggerfs.runs (
  day date not null,
  invocation_id uuid not null,
  team_id integer not null,
  worker_id integer not null,
  identity text not null,
  attempt smallint not null,
  -- When the broker that had it took the invocation: a worker's list is in this order.
  accepted_at timestamptz(3) not null,
  verdict text,
  exit_code integer,
  signal smallint,
  error text,
  detail text,
  started_at timestamptz(3) not null,
  ended_at timestamptz(3),
  duration_us bigint,
  output_bytes bigint not null default 0,
  primary key (invocation_id, worker_id, attempt, day, team_id)
) partition by range (day);
create index runs_worker on triggerfs.runs (team_id, identity, accepted_at desc);

-- The output of a run in blocks of up to 64 KiB, sealed; protocol/history-block.ts tells what is inside.
create table triggerfs.outputs (
  day date not null,
  invocation_id uuid not null,
  team_id integer not null,
  worker_id integer not null,
  attempt smallint not null,
  -- Counts the blocks of a run from 0 without gaps.
  block integer not null,
  first_sequence bigint not null,
  -- Bytes of output inside, without the framing.
  bytes integer not null,
  at timestamptz(3) not null,
  data bytea not null,
  -- Output before this block is missing: the database did not answer for too long, or a broker was lost.
  gap boolean not null default false,
  primary key (invocation_id, worker_id, attempt, block, day, team_id)
) partition by range (day);
alter table triggerfs.outputs alter column data set storage external;

-- Words that must not be stored: a team's own secrets, sealed.
create table triggerfs.redactions (
  id integer generated always as identity primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  name text not null check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  word bytea not null,
  created_at timestamptz(3) not null default now(),
  unique (team_id, name)
);
create trigger redactions_touch after insert or update or delete on triggerfs.redactions for each row execute function triggerfs.touch_team_config();

call triggerfs.isolate_teams('invocations', 'runs', 'outputs', 'redactions');
grant select on triggerfs.invocations, triggerfs.runs, triggerfs.outputs, triggerfs.redactions to triggerfs_app;
grant insert, update, delete on triggerfs.redactions to triggerfs_app;
create policy edge_write on triggerfs.invocations to triggerfs_edge using (true) with check (true);
create policy edge_write on triggerfs.runs to triggerfs_edge using (true) with check (true);
create policy edge_write on triggerfs.outputs to triggerfs_edge using (true) with check (true);
grant select, insert, update on triggerfs.invocations, triggerfs.runs, triggerfs.outputs to triggerfs_edge;
create policy edge_read on triggerfs.redactions for select to triggerfs_edge using (true);
grant select on triggerfs.redactions to triggerfs_edge;

-- Makes the partitions from yesterday to so many days ahead; returns how many were missing. There is no default partition:
-- a day without one fails loudly. A partition is made apart and then attached, which does not wait for writers nor stop them.
create function triggerfs.make_history_partitions(ahead integer default 7) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  today date := (now() at time zone 'UTC')::date;
  parent text;
  part text;
  d date;
  made integer := 0;
begin
  for i in -1..greatest(ahead, 1) loop
    d := today + i;
    foreach parent in array array['invocations', 'runs', 'outputs'] loop
      part := parent || to_char(d, '"_"YYYYMMDD');
      continue when to_regclass('triggerfs.' || part) is not null;
      -- Two processes may be here at once; the second one finds it made.
      perform pg_advisory_xact_lock(hashtext('triggerfs.history'));
      continue when to_regclass('triggerfs.' || part) is not null;
      execute format('create table triggerfs.%I (like triggerfs.%I including defaults including constraints including storage)', part, parent);
      -- Nobody has business with a partition by its own name.
      execute format('alter table triggerfs.%I enable row level security', part);
      execute format('alter table triggerfs.%I force row level security', part);
      execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', part);
      -- Spares the attachment a look at the (empty) table.
      execute format('alter table triggerfs.%I add constraint day_of_partition check (day = %L)', part, d);
      execute format('alter table triggerfs.%I attach partition triggerfs.%I for values from (%L) to (%L)', parent, part, d, d + 1);
      made := made + 1;
    end loop;
  end loop;
  return made;
end $$;

-- Days that have partitions, oldest first.
create function triggerfs.history_days() returns table (day date, bytes bigint)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select to_date(right(c.relname, 8), 'YYYYMMDD'), sum(pg_total_relation_size(c.oid))::bigint
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('triggerfs.invocations'::regclass, 'triggerfs.runs'::regclass, 'triggerfs.outputs'::regclass)
    group by 1 order by 1
$$;

-- Closes what a broker left open when it was lost: nobody took it over until its deadline and the grace after that, and the
-- broker is gone or was started again since. Whether it ran to its end is not known, so the verdict is `worker-lost` with
-- TFS_BROKER_LOST, as for a client that loses its broker. A verdict that arrives later all the same replaces it.
create function triggerfs.close_lost_invocations(grace interval default '30 seconds') returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  closed integer;
begin
  with lost as (
    update triggerfs.invocations i set verdict = 'worker-lost', exit_code = 69, error = 'TFS_BROKER_LOST', ended_at = now(),
        detail = 'the broker was lost during the run; it may have finished or not'
      where i.verdict is null and i.deadline_at < now() - grace
        and (i.deadline_at < now() - interval '1 day' or not exists (
          select from triggerfs.brokers b
            where b.id = i.broker_id and b.state <> 'down' and b.beat_at > now() - interval '1 minute' and b.started_at <= i.taken_at))
      returning i.day, i.id, i.team_id
  ), runs as (
    update triggerfs.runs r set verdict = 'worker-lost', error = 'TFS_BROKER_LOST', ended_at = now(),
        detail = 'the broker was lost during the run; it may have finished or not'
      from lost where r.day = lost.day and r.invocation_id = lost.id and r.team_id = lost.team_id and r.verdict is null
  )
  select count(*) into closed from lost;
  return closed;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.uuid_v7(), triggerfs.uuid_time(uuid), triggerfs.make_history_partitions(integer)
  to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on function triggerfs.history_days(), triggerfs.close_lost_invocations(interval) to triggerfs_jobs;

-- New services keep everything; those that exist stay as they are.
alter table triggerfs.services alter column history set default 'output';

-- What is kept of a trigger file's messages; null means what its service keeps.
alter table triggerfs.triggers add column history text check (history in ('off', 'meta', 'output'));
select triggerfs.make_history_partitions();
