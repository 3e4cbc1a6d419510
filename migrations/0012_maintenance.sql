-- Announced maintenance of the installation. Brokers read it with the fleet's configuration and drain when it begins.
create table triggerfs.maintenances (
  id integer generated always as identity primary key,
  reason text not null check (length(reason) between 1 and 500),
  starts_at timestamptz(3) not null,
  announced_by integer references triggerfs.users on delete set null,
  created_at timestamptz(3) not null default now()
);
grant select on triggerfs.maintenances to triggerfs_app, triggerfs_edge;
create trigger maintenances_touch after insert or update or delete on triggerfs.maintenances
  for each statement execute function triggerfs.touch_fleet_config();

-- Announces maintenance and writes to the mailbox of every team.
create function triggerfs.announce_maintenance(why text, seconds integer, operator integer) returns integer
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  made record;
begin
  insert into triggerfs.maintenances (reason, starts_at, announced_by) values (why, now() + seconds * interval '1 s', operator)
    returning id, starts_at into made;
  perform triggerfs.send_mail(t.id, null, 'maintenance',
    format('Maintenance at %s UTC', to_char(made.starts_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')),
    format('%s. Brokers end their running work and start again; workers, mounts and clients reconnect by themselves.', rtrim(why, '. ')))
    from triggerfs.teams t;
  return made.id;
end $$;

-- Takes back maintenance that has not begun, and tells so. False: there is none.
create function triggerfs.cancel_maintenance(maintenance integer) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  gone record;
begin
  delete from triggerfs.maintenances m where m.id = maintenance and m.starts_at > now() returning m.id, m.reason, m.starts_at into gone;
  if gone.id is null then
    return false;
  end if;
  perform triggerfs.send_mail(t.id, null, 'maintenance',
    format('No maintenance at %s UTC', to_char(gone.starts_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')),
    format('What was announced does not take place: %s', gone.reason))
    from triggerfs.teams t;
  return true;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on all functions in schema triggerfs to triggerfs_app;
