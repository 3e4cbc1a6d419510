-- How services answer over HTTP, and the webhooks that reach them.

-- What differs from the defaults of protocol/http/gateway.ts, by the same names.
alter table triggerfs.services add column http jsonb not null default '{}'
  constraint services_http check (jsonb_typeof(http) = 'object' and length(http::text) <= 131072);

-- Callers without a token reach only what everyone may call, and only plugins that were named.
alter table triggerfs.services add constraint services_anonymous_is_public
  check (http -> 'anonymous' is null or http -> 'anonymous' = 'false' or (visibility = 'public' and cardinality(plugins) > 0));

create table triggerfs.hooks (
  id integer generated always as identity,
  team_id integer not null references triggerfs.teams on delete cascade,
  service_id integer not null,
  name text not null check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
  -- As the column http of services.
  settings jsonb not null default '{}' check (jsonb_typeof(settings) = 'object' and length(settings::text) <= 131072),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (team_id, id),
  unique (id),
  foreign key (team_id, service_id) references triggerfs.services (team_id, id) on delete cascade
);

-- A hook is reached by team and name alone.
create unique index hooks_name on triggerfs.hooks (team_id, lower(name));
create index hooks_service on triggerfs.hooks (team_id, service_id);

-- Secrets that senders sign with, sealed with the team's key. Apart from the hooks, so that no snapshot of a configuration has them.
create table triggerfs.hook_secrets (
  id uuid not null default gen_random_uuid(),
  team_id integer not null,
  hook_id integer not null,
  sealed bytea not null check (length(sealed) <= 2048),
  -- When a secret that was replaced ends; null for the current one.
  ends_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  primary key (team_id, hook_id, id),
  foreign key (team_id, hook_id) references triggerfs.hooks (team_id, id) on delete cascade
);
create unique index hook_secrets_current on triggerfs.hook_secrets (team_id, hook_id) where ends_at is null;

-- Deliveries of hooks that answer at once, so that none runs twice. Those that are kept for later are told apart by the queue.
create table triggerfs.hook_deliveries (
  team_id integer not null,
  hook_id integer not null,
  -- SHA-256 of what the sender calls the delivery, or of its signature.
  key bytea not null check (length(key) = 32),
  delivered_at timestamptz(3) not null default now(),
  primary key (team_id, hook_id, key),
  foreign key (team_id, hook_id) references triggerfs.hooks (team_id, id) on delete cascade
);
create index hook_deliveries_age on triggerfs.hook_deliveries (team_id, hook_id, delivered_at);

call triggerfs.isolate_teams('hooks', 'hook_secrets', 'hook_deliveries');
grant select, insert, update, delete on triggerfs.hooks, triggerfs.hook_secrets to triggerfs_app;
create policy edge_read on triggerfs.hooks for select to triggerfs_edge using (true);
create policy edge_read on triggerfs.hook_secrets for select to triggerfs_edge using (true);
grant select on triggerfs.hooks, triggerfs.hook_secrets to triggerfs_edge;
create trigger hooks_touch after insert or update or delete on triggerfs.hooks for each row execute function triggerfs.touch_team_config();
create trigger hook_secrets_touch after insert or update or delete on triggerfs.hook_secrets for each row execute function triggerfs.touch_team_config();
create trigger hooks_updated before update on triggerfs.hooks for each row execute function triggerfs.set_updated_at();

-- Notes a delivery; false when it was there already. Forgets those of this hook that are older than two days.
create function triggerfs.note_delivery(team integer, hook integer, delivery bytea) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  delete from triggerfs.hook_deliveries d where d.team_id = team and d.hook_id = hook and d.delivered_at < now() - interval '2 days';
  insert into triggerfs.hook_deliveries (team_id, hook_id, key) values (team, hook, delivery) on conflict do nothing;
  return found;
end $$;

-- Takes back a delivery that reached no worker, so that its sender may repeat it.
create function triggerfs.forget_delivery(team integer, hook integer, delivery bytea) returns void
  language sql security definer set search_path = triggerfs, pg_temp as $$
  delete from triggerfs.hook_deliveries d where d.team_id = team and d.hook_id = hook and d.key = delivery
$$;

-- What became of accepted invocations, for the gateway's callers; each is asked for together with its team.
create function triggerfs.kept_invocations(teams integer[], ids uuid[])
  returns table (id uuid, team_id integer, source text, caller text, state text, service text, plugin text, attempt integer, invocation_id uuid,
    accepted_at timestamptz, due_at timestamptz, ended_at timestamptz, verdict text, exit_code integer, error text, detail text, answer bytea)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select i.id, i.team_id, i.source, i.caller, i.state, i.service, i.plugin, i.attempt, i.invocation_id,
      i.accepted_at, i.due_at, i.ended_at, i.verdict, i.exit_code, i.error, i.detail, i.answer
    from unnest(teams, ids) as k (team, id) join triggerfs.queue_items i on i.id = k.id and i.team_id = k.team
$$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.kept_invocations(integer[], uuid[]), triggerfs.note_delivery(integer, integer, bytea), triggerfs.forget_delivery(integer, integer, bytea) to triggerfs_edge;

-- States to go back to know nothing of this yet.
update triggerfs.configuration_snapshots s set state = jsonb_set(jsonb_set(s.state, '{tables,hooks}', '[]'), '{tables,services}',
  (select coalesce(jsonb_agg(r.service || '{"http": {}}' order by r.n), '[]')
   from jsonb_array_elements(s.state #> '{tables,services}') with ordinality as r (service, n)));
