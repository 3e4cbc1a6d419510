-- Brokers register themselves; workers' presence is written in bulk by the broker that holds the session.
create table triggerfs.brokers (
  id uuid primary key,
  endpoint text not null check (endpoint ~ '^tcp://'),
  gateway_url text,
  public_key text not null check (length(public_key) = 40),
  region text not null default 'default',
  state text not null default 'up' check (state in ('up', 'draining', 'down')),
  started_at timestamptz(3) not null default now(),
  beat_at timestamptz(3) not null default now()
);
create unique index brokers_endpoint on triggerfs.brokers (endpoint) where state <> 'down';

create table triggerfs.presence (
  worker_id integer not null references triggerfs.workers (id) on delete cascade,
  broker_id uuid not null references triggerfs.brokers on delete cascade,
  team_id integer not null,
  concurrency integer not null,
  running integer not null default 0,
  version text not null,
  plugins text[] not null default '{}',
  since timestamptz(3) not null default now(),
  primary key (worker_id, broker_id)
);
create index presence_team on triggerfs.presence (team_id);
create index presence_broker on triggerfs.presence (broker_id);

-- Keys that sign tokens. Public halves are for everyone; the private half is readable by the control-plane only.
create table triggerfs.signing_keys (
  kid text primary key,
  public_key text not null,
  created_at timestamptz(3) not null default now(),
  -- Signs until here, verifies one token life longer.
  retires_at timestamptz(3) not null
);
create table triggerfs.signing_secrets (
  kid text primary key references triggerfs.signing_keys on delete cascade,
  private_key text not null
);

-- CURVE keys that admit a connection to the brokers' port; handed out at login, rotated.
create table triggerfs.channel_keys (
  public_key text primary key check (length(public_key) = 40),
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null
);
create table triggerfs.channel_secrets (
  public_key text primary key references triggerfs.channel_keys on delete cascade,
  secret_key text not null check (length(secret_key) = 40)
);

-- A beat alone must not ring the doorbell: only arrival, change of address or state, and removal do.
create trigger brokers_touch_insert after insert on triggerfs.brokers for each statement execute function triggerfs.touch_fleet_config();
create trigger brokers_touch_update after update of endpoint, gateway_url, public_key, region, state on triggerfs.brokers for each statement execute function triggerfs.touch_fleet_config();
create trigger brokers_touch_delete after delete on triggerfs.brokers for each statement execute function triggerfs.touch_fleet_config();
create trigger signing_keys_touch after insert or update or delete on triggerfs.signing_keys for each statement execute function triggerfs.touch_fleet_config();
create trigger channel_keys_touch after insert or update or delete on triggerfs.channel_keys for each statement execute function triggerfs.touch_fleet_config();
