# shellcheck shell=bash
# What triggerfs.toml says on this machine.

step_config() {
  local existed='' incomplete
  need_toml_names || return
  if read_toml; then existed=1; else new_toml; fi
  toml_add main api "${API:-http://127.0.0.1:8642}" && toml_add main team "$TEAM" && toml_add main identity "$IDENTITY" || return
  [ -z "$PASSWORD" ] || toml_add main secret "$PASSWORD" || return
  toml_default triggerfs mountpoint "$(default_mountpoint)" || return
  [ -z "$WORKER_USER" ] || toml_add workers user "$WORKER_USER" || return
  [ -z "$WORKER" ] || { worker_token && toml_add "$SECTION" token "$ANSWER"; } || return
  incomplete=$TOML_CHANGED
  write_toml || return
  if [ -n "$incomplete" ] && [ -n "$existed" ]; then
    say "Configuration: added what was missing to $CONFIG."
  elif [ -n "$incomplete" ]; then
    say "Configuration: wrote $CONFIG."
  else
    say "Configuration: $CONFIG has everything; nothing to do."
  fi
}

# What is asked for before anything is written. A worker's machine needs no login of a person.
need_toml_names() {
  need_api || return
  if [ -z "$TEAM" ] && saved main team; then TEAM=$ANSWER; fi
  if [ -z "$YES" ]; then
    need TEAM --team 'Team' '' && need_identity && need_password || return
  elif [ -n "$IDENTITY" ] && [ -n "$PASSWORD_FILE" ]; then
    need_password || return
  fi
  if [ -n "$WORKER" ]; then
    need TEAM --team 'Team of the worker' '' && is_name "$WORKER" || fail "$WORKER is no name of a worker" || return
  fi
}

default_mountpoint() {
  if is_root && has_service fs; then echo "$SYSTEM_MOUNTPOINT"; else echo ./mountpoint; fi
}
