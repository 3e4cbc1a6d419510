-- Raises a team's counter and rings the doorbell, once a transaction: a commit of thousands of commands would otherwise write
-- that row, and notify, thousands of times. The row stays locked until the transaction ends, so nobody reads the new version
-- before its changes. The note of what was raised is taken back with the savepoint or transaction that it belongs to.
create or replace function triggerfs.touch_config(team integer) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  raised bigint;
  touched text := coalesce(current_setting('app.touched', true), '');
begin
  if position(format(',%s,', team) in touched) > 0 then
    return;
  end if;
  perform set_config('app.touched', format('%s,%s,', touched, team), true);
  insert into triggerfs.config_version as v (team_id, version) values (team, 1)
    on conflict (team_id) do update set version = v.version + 1
    returning v.version into raised;
  perform pg_notify('triggerfs_config', format('team:%s:%s', team, raised));
end $$;
