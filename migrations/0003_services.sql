-- Workers, services and who serves what. Composite keys, so that no foreign key crosses teams.
create table triggerfs.workers (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  identity text not null check (identity ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  description text not null default '' check (length(description) <= 1000),
  -- SHA-256 of the uuid v4 that is shown once.
  token_hash bytea not null unique check (length(token_hash) = 32),
  token_epoch integer not null default 1,
  owner_id integer references triggerfs.users on delete set null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (id)
);
create unique index workers_identity on triggerfs.workers (team_id, lower(identity));

create table triggerfs.services (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  name text not null check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  description text not null default '' check (length(description) <= 1000),
  algorithm text not null default 'roundrobin' check (algorithm in ('roundrobin', 'serial', 'mirror')),
  timeout_ms integer not null default 30000 check (timeout_ms between 1 and 604800000),
  -- serial: how many workers at once (`2`, or `25%` of those attached) and after how many errors to stop (same forms).
  "window" text not null default '1' check ("window" ~ '^([1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$'),
  max_errors text not null default '1' check (max_errors ~ '^(0|[1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$'),
  -- unstarted: move only runs that have not started; always: also restart started ones (idempotent plugins).
  failover text not null default 'unstarted' check (failover in ('unstarted', 'always')),
  queue_limit integer not null default 10000 check (queue_limit between 0 and 1000000),
  visibility text not null default 'team' check (visibility in ('local', 'team', 'public')),
  -- Plugins that may be called; null means every plugin of the workers.
  plugins text[],
  history text not null default 'meta' check (history in ('off', 'meta', 'output')),
  owner_id integer references triggerfs.users on delete set null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (id),
  constraint services_public_needs_plugins check (visibility <> 'public' or plugins is not null)
);
create unique index services_name on triggerfs.services (team_id, lower(name));

-- A service and a worker share one namespace: both are addressed with -service.
create function triggerfs.check_service_namespace() returns trigger language plpgsql as $$
declare
  wanted text := case when tg_table_name = 'services' then to_jsonb(new) ->> 'name' else to_jsonb(new) ->> 'identity' end;
begin
  perform pg_advisory_xact_lock(hashtext('triggerfs.namespace'), new.team_id);
  if tg_table_name = 'workers' and exists (select from triggerfs.services s where s.team_id = new.team_id and lower(s.name) = lower(wanted))
    or tg_table_name = 'services' and exists (select from triggerfs.workers w where w.team_id = new.team_id and lower(w.identity) = lower(wanted))
  then
    raise exception 'the name % is used by a % already', wanted, case when tg_table_name = 'services' then 'worker' else 'service' end
      using errcode = 'unique_violation', constraint = 'service_namespace';
  end if;
  return new;
end $$;
create trigger workers_namespace before insert or update of identity on triggerfs.workers for each row execute function triggerfs.check_service_namespace();
create trigger services_namespace before insert or update of name on triggerfs.services for each row execute function triggerfs.check_service_namespace();

create table triggerfs.service_members (
  team_id integer not null,
  service_id integer not null,
  worker_id integer not null,
  -- Attach order: serial services run through their workers in this order.
  position integer generated always as identity,
  primary key (team_id, service_id, worker_id),
  foreign key (team_id, service_id) references triggerfs.services (team_id, id) on delete cascade,
  foreign key (team_id, worker_id) references triggerfs.workers (team_id, id) on delete cascade
);

create trigger workers_updated before update on triggerfs.workers for each row execute function triggerfs.set_updated_at();
create trigger services_updated before update on triggerfs.services for each row execute function triggerfs.set_updated_at();
create trigger workers_touch after insert or update or delete on triggerfs.workers for each row execute function triggerfs.touch_team_config();
create trigger services_touch after insert or update or delete on triggerfs.services for each row execute function triggerfs.touch_team_config();
create trigger service_members_touch after insert or update or delete on triggerfs.service_members for each row execute function triggerfs.touch_team_config();
