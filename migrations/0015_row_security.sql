-- Keeps tables to teams, as 0006 does: whoever works for a team finds its rows alone, which is the second line behind statements that name the
-- team themselves; the owner (migrations, definer functions) sees all teams, even where it is no superuser. Rights are granted apart.
create procedure triggerfs.isolate_teams(variadic tables text[])
  language plpgsql set search_path = triggerfs, pg_temp as $$
declare
  t text;
begin
  foreach t in array tables loop
    execute format('alter table triggerfs.%I enable row level security, force row level security', t);
    execute format('create policy team_only on triggerfs.%I to triggerfs_app using (team_id = (select triggerfs.current_team())) with check (team_id = (select triggerfs.current_team()))', t);
    execute format('create policy owner_all on triggerfs.%I to current_user using (true) with check (true)', t);
  end loop;
end $$;
revoke execute on procedure triggerfs.isolate_teams(text[]) from public;
