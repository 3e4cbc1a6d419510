-- Teams, users and who belongs where. Names are unique without regard to case.
create table triggerfs.teams (
  id integer generated always as identity primary key,
  name text not null check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  description text not null default '' check (length(description) <= 1000),
  plan text not null default 'unlimited',
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);
create unique index teams_name on triggerfs.teams (lower(name));

create table triggerfs.users (
  id integer generated always as identity primary key,
  identity text not null check (identity ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  email text check (length(email) <= 254),
  -- pgcrypto bcrypt of a password of at most 72 bytes.
  secret_hash text not null,
  active boolean not null default true,
  -- Tokens carry the epoch they were issued under; raising it revokes all of them.
  token_epoch integer not null default 1,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);
create unique index users_identity on triggerfs.users (lower(identity));
create unique index users_email on triggerfs.users (lower(email));

create table triggerfs.memberships (
  team_id integer not null references triggerfs.teams on delete cascade,
  user_id integer not null references triggerfs.users on delete cascade,
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  created_at timestamptz(3) not null default now(),
  primary key (team_id, user_id)
);
create index memberships_user on triggerfs.memberships (user_id);

-- API tokens: shown once, stored as SHA-256 of 256 random bits.
create table triggerfs.api_tokens (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  user_id integer not null,
  name text not null check (length(name) between 1 and 63),
  token_hash bytea not null unique check (length(token_hash) = 32),
  -- `invoke` calls services; `read` lists; `write` changes the team as the user's role allows.
  scopes text[] not null default '{invoke}' check (scopes <@ array['invoke', 'read', 'write'] and cardinality(scopes) > 0),
  expires_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (team_id, name),
  foreign key (team_id, user_id) references triggerfs.memberships (team_id, user_id) on delete cascade
);

-- Sessions that were logged out before their tokens end; brokers refuse their ids.
create table triggerfs.revoked_sessions (
  session_id uuid primary key,
  expires_at timestamptz(3) not null,
  created_at timestamptz(3) not null default now()
);

create trigger teams_updated before update on triggerfs.teams for each row execute function triggerfs.set_updated_at();
create trigger users_updated before update on triggerfs.users for each row execute function triggerfs.set_updated_at();

create function triggerfs.touch_team_row() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  perform triggerfs.touch_config(case when tg_op = 'DELETE' then old.id else new.id end);
  return null;
end $$;
create trigger teams_touch after insert or update or delete on triggerfs.teams for each row execute function triggerfs.touch_team_row();

-- A user's epoch and state matter in every team.
create function triggerfs.touch_user_teams() returns trigger
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  perform triggerfs.touch_config(team_id) from triggerfs.memberships where user_id = new.id;
  return null;
end $$;
create trigger users_touch after update of active, token_epoch on triggerfs.users for each row execute function triggerfs.touch_user_teams();
create trigger memberships_touch after insert or update or delete on triggerfs.memberships for each row execute function triggerfs.touch_team_config();
create trigger api_tokens_touch after insert or update or delete on triggerfs.api_tokens for each row execute function triggerfs.touch_team_config();
create trigger revoked_sessions_touch after insert on triggerfs.revoked_sessions for each statement execute function triggerfs.touch_fleet_config();
