-- The file tree: directories and trigger files. The root directory `/` is implied.
create table triggerfs.directories (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  path text not null check (path ~ '^(/[^/[:cntrl:]]{1,255})+$' and path !~ '/\.' and length(path) <= 1024),
  mode integer not null default 509 check (mode between 0 and 4095), -- 0775
  owner_id integer references triggerfs.users on delete set null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (team_id, path)
);

create table triggerfs.triggers (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  directory_id integer not null,
  name text not null check (name ~ '^[^/[:cntrl:]]{1,255}$' and name !~ '^\.'),
  description text not null default '' check (length(description) <= 1000),
  mode integer not null default 420 check (mode between 0 and 4095), -- 0644
  plugin text check (plugin ~ '^[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})?$'),
  service_id integer,
  args jsonb not null default '{}' check (jsonb_typeof(args) = 'object'),
  -- Null: the service's timeout.
  timeout_ms integer check (timeout_ms between 1 and 604800000),
  framing text not null default 'write' check (framing in ('write', 'line', 'close')),
  durability text not null default 'process' check (durability in ('process', 'fsync')),
  visibility text not null default 'team' check (visibility in ('local', 'team', 'public')),
  owner_id integer references triggerfs.users on delete set null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (id),
  unique (team_id, directory_id, name),
  -- A directory with triggers in it cannot be removed.
  foreign key (team_id, directory_id) references triggerfs.directories (team_id, id),
  foreign key (team_id, service_id) references triggerfs.services (team_id, id) on delete set null (service_id)
);

-- Hits live apart: brokers add to them in bulk, and that must not touch the configuration.
create table triggerfs.trigger_hits (
  trigger_id integer primary key references triggerfs.triggers (id) on delete cascade,
  team_id integer not null,
  hits bigint not null default 0,
  last_hit_at timestamptz(3) not null default now()
);

-- A directory's parent must exist, and a file and a directory never share a path.
create function triggerfs.check_directory() returns trigger language plpgsql as $$
declare
  parent text := regexp_replace(new.path, '/[^/]+$', '');
  base text := regexp_replace(new.path, '^.*/', '');
begin
  perform pg_advisory_xact_lock(hashtext('triggerfs.tree'), new.team_id);
  if parent <> '' and not exists (select from triggerfs.directories d where d.team_id = new.team_id and d.path = parent) then
    raise exception 'directory % does not exist', parent using errcode = 'foreign_key_violation', constraint = 'directories_parent';
  end if;
  if exists (
    select from triggerfs.triggers t join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
    where t.team_id = new.team_id and d.path = parent and t.name = base
  ) then
    raise exception '% is a trigger', new.path using errcode = 'unique_violation', constraint = 'tree_path';
  end if;
  return new;
end $$;
create trigger directories_check before insert or update of path on triggerfs.directories for each row execute function triggerfs.check_directory();

create function triggerfs.check_trigger_path() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtext('triggerfs.tree'), new.team_id);
  if exists (
    select from triggerfs.directories p join triggerfs.directories c on c.team_id = p.team_id and c.path = p.path || '/' || new.name
    where p.team_id = new.team_id and p.id = new.directory_id
  ) then
    raise exception '% is a directory', new.name using errcode = 'unique_violation', constraint = 'tree_path';
  end if;
  return new;
end $$;
create trigger triggers_path before insert or update of name, directory_id on triggerfs.triggers for each row execute function triggerfs.check_trigger_path();

create function triggerfs.check_directory_empty() returns trigger language plpgsql as $$
begin
  if exists (select from triggerfs.teams t where t.id = old.team_id)
    and exists (select from triggerfs.directories d where d.team_id = old.team_id and starts_with(d.path, old.path || '/')) then
    raise exception 'directory % is not empty', old.path using errcode = 'foreign_key_violation', constraint = 'directories_empty';
  end if;
  return old;
end $$;
create trigger directories_empty before delete on triggerfs.directories for each row execute function triggerfs.check_directory_empty();

create trigger directories_updated before update on triggerfs.directories for each row execute function triggerfs.set_updated_at();
create trigger triggers_updated before update on triggerfs.triggers for each row execute function triggerfs.set_updated_at();
create trigger directories_touch after insert or update or delete on triggerfs.directories for each row execute function triggerfs.touch_team_config();
create trigger triggers_touch after insert or update or delete on triggerfs.triggers for each row execute function triggerfs.touch_team_config();
