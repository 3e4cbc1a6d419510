-- Commits of a team's configuration: who changed what and from where, and the state before, which `rollback` goes back to.
create table triggerfs.configuration_commits (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  author_id integer references triggerfs.users on delete set null,
  -- The author's identity then; stays when the user is gone.
  author text not null,
  -- Address the commit came from; empty where the server rolled back by itself.
  address text not null default '',
  kind text not null check (kind in ('commit', 'rollback')),
  comment text not null default '' check (length(comment) <= 1000),
  commands text[] not null,
  state text not null default 'done' check (state in ('done', 'pending', 'confirmed', 'rolled-back')),
  confirm_by timestamptz(3),
  created_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  check ((state = 'done') = (confirm_by is null))
);
-- A team has at most one commit that waits for its confirmation.
create unique index configuration_commits_pending on triggerfs.configuration_commits (team_id) where state = 'pending';
create index configuration_commits_due on triggerfs.configuration_commits (confirm_by) where state = 'pending';

-- The whole team before a commit, token hashes of workers included: a rolled back deletion must let the worker in again.
create table triggerfs.configuration_snapshots (
  team_id integer not null,
  commit_id integer not null,
  state jsonb not null,
  primary key (team_id, commit_id),
  foreign key (team_id, commit_id) references triggerfs.configuration_commits (team_id, id) on delete cascade
);

-- `configure exclusive`: only its holder commits until it ends.
create table triggerfs.configuration_locks (
  team_id integer primary key references triggerfs.teams on delete cascade,
  holder_id integer not null references triggerfs.users on delete cascade,
  holder text not null,
  expires_at timestamptz(3) not null,
  created_at timestamptz(3) not null default now()
);

do $$
declare
  t text;
begin
  foreach t in array array['configuration_commits', 'configuration_snapshots', 'configuration_locks'] loop
    execute format('alter table triggerfs.%I enable row level security', t);
    execute format('alter table triggerfs.%I force row level security', t);
    execute format('create policy team_only on triggerfs.%I to triggerfs_app using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()))', t);
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
  end loop;
end $$;
-- What was committed stays on record: only its state changes.
grant select, insert, update (state) on triggerfs.configuration_commits to triggerfs_app;
grant select, insert, delete on triggerfs.configuration_snapshots to triggerfs_app;
grant select, insert, update, delete on triggerfs.configuration_locks to triggerfs_app;

-- Teams whose last commit was not confirmed in time.
create function triggerfs.unconfirmed_teams() returns table (team_id integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select c.team_id from triggerfs.configuration_commits c where c.state = 'pending' and c.confirm_by <= now()
$$;
revoke execute on function triggerfs.unconfirmed_teams() from public;
grant execute on function triggerfs.unconfirmed_teams() to triggerfs_app;
