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

-- The master key of this database by its fingerprint: one row. The key itself is in a file.
create table triggerfs.master_key (
  only_one boolean primary key default true check (only_one),
  fingerprint text not null check (fingerprint ~ '^[0-9a-f]{16}$'),
  since timestamptz(3) not null default now()
);
revoke all on triggerfs.master_key from public;

-- Makes the fingerprint known when there is none yet (null only asks), and returns the one that counts.
create function triggerfs.register_master_key(wanted text) returns text
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  if wanted is not null then
    insert into triggerfs.master_key (fingerprint) values (wanted) on conflict do nothing;
  end if;
  return (select fingerprint from triggerfs.master_key);
end $$;

-- Data keys of the teams, wrapped by the master key. Deleting a team deletes its keys, and what they sealed is gone for good.
create table triggerfs.team_keys (
  id integer generated always as identity primary key,
  team_id integer not null references triggerfs.teams on delete cascade,
  -- Fingerprint of the master key that wrapped it.
  master text not null,
  wrapped bytea not null,
  created_at timestamptz(3) not null default now(),
  -- Seals nothing new since then; it still opens.
  retired_at timestamptz(3)
);
create unique index team_keys_current on triggerfs.team_keys (team_id) where retired_at is null;
create index team_keys_team on triggerfs.team_keys (team_id);
alter table triggerfs.team_keys enable row level security;
alter table triggerfs.team_keys force row level security;
create policy owner_all on triggerfs.team_keys to current_user using (true) with check (true);

create function triggerfs.team_keys_of(team integer) returns table (id integer, master text, wrapped bytea, retired boolean)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select k.id, k.master, k.wrapped, k.retired_at is not null from triggerfs.team_keys k where k.team_id = team order by k.id
$$;

-- Adds the team's current key; does nothing when another process was faster.
create function triggerfs.add_team_key(team integer, master_fingerprint text, wrapped_key bytea) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  insert into triggerfs.team_keys (team_id, master, wrapped) values (team, master_fingerprint, wrapped_key)
    on conflict (team_id) where retired_at is null do nothing
$$;

-- Rotation of data keys: the next thing that is sealed gets a new one (within a minute). Null means all teams.
create function triggerfs.retire_team_keys(team integer) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  changed integer;
begin
  update triggerfs.team_keys set retired_at = now() where retired_at is null and (team is null or team_id = team);
  get diagnostics changed = row_count;
  return changed;
end $$;

-- Rotation of the master key: data keys that another one wrapped, and their new wrapping.
create function triggerfs.foreign_team_keys(master_fingerprint text) returns table (id integer, team_id integer, master text, wrapped bytea)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select k.id, k.team_id, k.master, k.wrapped from triggerfs.team_keys k where k.master <> master_fingerprint order by k.id
$$;
create function triggerfs.rewrap_team_keys(master_fingerprint text, ids integer[], wrapped_keys bytea[]) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  update triggerfs.team_keys k set master = master_fingerprint, wrapped = n.wrapped
    from unnest(ids, wrapped_keys) as n (id, wrapped) where k.id = n.id;
  update triggerfs.master_key set fingerprint = master_fingerprint, since = now() where fingerprint <> master_fingerprint;
end $$;

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
create index invocations_team on triggerfs.invocations (team_id, accepted_at desc, id);
create index invocations_open on triggerfs.invocations (deadline_at) where verdict is null;

-- One row for each attempt on a worker.
create table triggerfs.runs (
  day date not null,
  invocation_id uuid not null,
  team_id integer not null,
  worker_id integer not null,
  identity text not null,
  attempt smallint not null,
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

do $$
declare
  t text;
begin
  foreach t in array array['invocations', 'runs', 'outputs', 'redactions'] loop
    execute format('alter table triggerfs.%I enable row level security', t);
    execute format('alter table triggerfs.%I force row level security', t);
    execute format('create policy team_only on triggerfs.%I to triggerfs_app using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()))', t);
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
    execute format('grant select on triggerfs.%I to triggerfs_app', t);
  end loop;
  foreach t in array array['invocations', 'runs', 'outputs'] loop
    execute format('create policy edge_write on triggerfs.%I to triggerfs_edge using (true) with check (true)', t);
    execute format('grant select, insert, update on triggerfs.%I to triggerfs_edge', t);
  end loop;
end $$;
grant insert, update, delete on triggerfs.redactions to triggerfs_app;
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

revoke execute on function triggerfs.uuid_v7(), triggerfs.uuid_time(uuid), triggerfs.register_master_key(text), triggerfs.team_keys_of(integer),
  triggerfs.add_team_key(integer, text, bytea), triggerfs.retire_team_keys(integer), triggerfs.foreign_team_keys(text),
  triggerfs.rewrap_team_keys(text, integer[], bytea[]), triggerfs.make_history_partitions(integer), triggerfs.history_days(),
  triggerfs.close_lost_invocations(interval) from public;
grant execute on function triggerfs.uuid_v7(), triggerfs.uuid_time(uuid), triggerfs.register_master_key(text), triggerfs.team_keys_of(integer),
  triggerfs.add_team_key(integer, text, bytea), triggerfs.make_history_partitions(integer) to triggerfs_app, triggerfs_edge, triggerfs_jobs;
grant execute on function triggerfs.foreign_team_keys(text), triggerfs.rewrap_team_keys(text, integer[], bytea[]) to triggerfs_app;
grant execute on function triggerfs.history_days(), triggerfs.close_lost_invocations(interval) to triggerfs_jobs;

-- New services keep everything; those that exist stay as they are.
alter table triggerfs.services alter column history set default 'output';
-- What is kept of a trigger file's messages; null means what its service keeps.
alter table triggerfs.triggers add column history text check (history in ('off', 'meta', 'output'));

select triggerfs.make_history_partitions();
