-- Which brokers have had their turn in maintenance; no foreign key, because a broker that is down is forgotten after a while.
create table triggerfs.maintenance_turns (
  maintenance_id integer not null references triggerfs.maintenances on delete cascade,
  broker_id uuid not null,
  region text not null,
  taken_at timestamptz(3) not null default now(),
  primary key (maintenance_id, broker_id)
);

-- Whether a broker may drain now. One of the fleet at a time: the next may when the one before has been up again for three seconds, or
-- has stayed away for two minutes. A region that had other brokers keeps one that the same workers have come to (or have had a minute
-- to come to); a broker that was alone in its region from the beginning does not wait.
create function triggerfs.take_maintenance_turn(maintenance integer, broker uuid) returns boolean
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  own text;
begin
  perform pg_advisory_xact_lock(7420318656);
  select b.region into own from triggerfs.brokers b where b.id = broker;
  if own is null then
    return false;
  end if;
  if exists (select from triggerfs.maintenance_turns t where t.maintenance_id = maintenance and t.broker_id = broker) then
    return true;
  end if;
  if exists (select from triggerfs.maintenance_turns t
      where t.maintenance_id = maintenance and t.taken_at > now() - interval '2 minutes'
        and not exists (select from triggerfs.brokers b where b.id = t.broker_id and b.state = 'up' and b.beat_at > now() - interval '30 s'
          and b.started_at between t.taken_at and now() - interval '3 s')) then
    return false;
  end if;
  if exists (select from triggerfs.maintenance_turns t where t.maintenance_id = maintenance and t.region = own)
    or exists (select from triggerfs.brokers o where o.id <> broker and o.region = own and o.state <> 'down' and o.beat_at > now() - interval '30 s') then
    perform from triggerfs.brokers o
      where o.id <> broker and o.region = own and o.state = 'up' and o.beat_at > now() - interval '30 s' and o.started_at < now() - interval '3 s'
        and (o.started_at < now() - interval '1 minute' or not exists (
          select from triggerfs.presence p where p.broker_id = broker
            and not exists (select from triggerfs.presence q where q.worker_id = p.worker_id and q.broker_id = o.id)));
    if not found then
      return false;
    end if;
  end if;
  insert into triggerfs.maintenance_turns (maintenance_id, broker_id, region) values (maintenance, broker, own);
  return true;
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.take_maintenance_turn(integer, uuid) to triggerfs_edge;
