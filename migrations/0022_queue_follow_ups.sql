-- What follows when an item has ended: another trigger file, or a result posted to an address.

-- The trigger of a path that a caller sees (a null account sees what the team sees), with its rule; null when there is none.
create function triggerfs.queue_trigger(team integer, account integer, wanted text)
  returns table (id integer, service text, plugin text, args jsonb, timeout_ms integer)
  language sql stable security definer set search_path = triggerfs, pg_temp as $$
  select t.id, s.name, t.plugin, t.args, t.timeout_ms
    from triggerfs.triggers t
    join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
    left join triggerfs.services s on s.team_id = t.team_id and s.id = t.service_id
    where t.team_id = team and d.path || '/' || t.name = wanted and (t.visibility <> 'local' or t.owner_id = account)
$$;

-- Refuses a follow-up that cannot be: as assert_callable.
create function triggerfs.assert_follow_up(team integer, account integer, follow jsonb) returns void
  language plpgsql stable security definer set search_path = triggerfs, pg_temp as $$
begin
  if follow is null or jsonb_typeof(follow) = 'null' then
    return;
  elsif jsonb_typeof(follow) <> 'object' or (select count(*) from jsonb_object_keys(follow)) <> 1
      or not (follow ? 'trigger' or follow ? 'callback') then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_REQUEST', message = 'a follow-up is {"trigger": "/path"} or {"callback": "https://..."}';
  elsif follow ? 'trigger' and not exists (
      select from triggerfs.queue_trigger(team, account, follow ->> 'trigger') t where t.service is not null and t.plugin is not null) then
    raise exception using errcode = 'TF010', hint = 'TFS_NOT_FOUND', message = format('there is no trigger %s with a service and a plugin', left(follow ->> 'trigger', 200));
  elsif follow ? 'callback' and (follow ->> 'callback' !~ '^https?://[^/]' or length(follow ->> 'callback') > 2048) then
    raise exception using errcode = 'TF010', hint = 'TFS_BAD_REQUEST', message = 'a callback is an http or https address';
  end if;
end $$;

-- Fires the trigger file that follows an item, with its result as payload. Returns the new item; null when the trigger is gone,
-- has no rule any more, follows too many others, or the plan allows no more: then a letter says so.
create function triggerfs.queue_follow(item uuid, follow text, new_id uuid, body bytea) returns uuid
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
declare
  parent record;
  rule record;
  made uuid;
  full_queue boolean;
begin
  select i.id, i.team_id, i.caller, i.depth, i.priority into parent from triggerfs.queue_items i where i.id = item;
  select t.* into rule from triggerfs.queue_trigger(parent.team_id, (
    select m.user_id from triggerfs.memberships m join triggerfs.users u on u.id = m.user_id
      where m.team_id = parent.team_id and lower(u.identity) = lower(parent.caller)), follow) t;
  full_queue := coalesce(triggerfs.queue_room(parent.team_id) = 0, false);
  if rule.service is null or rule.plugin is null or parent.depth >= 8 or full_queue then
    perform triggerfs.send_mail(parent.team_id, null, 'queue', format('The follow-up %s did not fire', left(follow, 100)),
      format('It follows invocation %s. %s', parent.id,
        case when parent.depth >= 8 then 'Follow-ups of follow-ups end after eight.'
          when full_queue then 'The team has as many waiting invocations as its plan allows.' else 'There is no trigger with a service and a plugin there.' end));
    return null;
  end if;
  select e.id into made from triggerfs.enqueue(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('id', new_id, 'team', parent.team_id,
    'source', 'api', 'caller', parent.caller, 'service', rule.service, 'plugin', rule.plugin, 'args', rule.args, 'trigger', rule.id,
    'timeoutMs', rule.timeout_ms, 'priority', parent.priority, 'depth', parent.depth + 1, 'sealed', true))), array[body]) e;
  return made;
end $$;

-- Notes a result that is to be posted; graphile-worker tries for about a day.
create function triggerfs.queue_callback(item uuid, new_id uuid, address text, content bytea) returns void
  language plpgsql security definer set search_path = triggerfs, pg_temp as $$
begin
  insert into triggerfs.queue_callbacks (id, team_id, item_id, url, body)
    select new_id, i.team_id, i.id, address, content from triggerfs.queue_items i where i.id = item;
  perform graphile_worker.add_job('queue_callback', json_build_object('id', new_id), max_attempts => 15);
end $$;

revoke execute on all functions in schema triggerfs from public;
grant execute on function triggerfs.assert_follow_up(integer, integer, jsonb) to triggerfs_app;
grant execute on function triggerfs.queue_follow(uuid, text, uuid, bytea), triggerfs.queue_callback(uuid, uuid, text, bytea) to triggerfs_jobs;
