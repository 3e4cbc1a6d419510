# shellcheck shell=bash
# systemd units of the services, and what they need in triggerfs.toml.

readonly SYSTEM_MOUNTPOINT=/mnt/triggerfs

has_service() {
  [[ ,$SERVICES, == *,"$1",* ]]
}

choose_services() {
  local name unknown=''
  [ -z "$SERVICES" ] || return 0
  [ -z "$YES" ] || fail 'which services? give --services' || return
  if [ "$UI" = plain ]; then
    ask_text "Services, some of ${ALL_SERVICES// /,}" 'worker' || return
    SERVICES=${ANSWER// /}
  else
    widget --separate-output --checklist 'Services of this machine' 0 0 0 control-plane 'the HTTP API' off broker 'routes requests' off \
      worker 'runs plugins' on fs 'mounts the trigger files' off && [ -n "$ANSWER" ] || fail 'no service was chosen' || return
    SERVICES=${ANSWER//$'\n'/,}
  fi
  for name in ${SERVICES//,/ }; do
    [[ " $ALL_SERVICES " == *" $name "* ]] || unknown=$name
  done
  [ -z "$unknown" ] || { fail "there is no service $unknown, only ${ALL_SERVICES// /, }"; SERVICES=''; return 1; }
}

# Adds what the units need to triggerfs.toml. Units of the system run with a private copy of it, so its paths are absolute.
service_config() {
  read_toml || fail "there is no $CONFIG; write the configuration first" || return
  if has_service control-plane || has_service broker; then service_database || return; fi
  if has_service worker; then service_worker || return; fi
  if is_root && { has_service control-plane || has_service broker; }; then service_master_key || return; fi
  if is_root && has_service broker; then
    if toml_get broker keyfile && [[ $ANSWER != /* ]]; then
      fail "the keyfile in [broker] of $CONFIG must be an absolute path, such as /var/lib/triggerfs-broker/broker.key"
      return
    fi
    toml_default broker keyfile /var/lib/triggerfs-broker/broker.key || return
  fi
  if is_root && has_service fs; then toml_default triggerfs spool /var/lib/triggerfs/spool || return; fi
  write_toml
}

# Both services read the key to what is kept of requests. It lies beside the configuration, as its private copy will.
service_master_key() {
  local file
  if toml_get main masterkey && [ "$ANSWER" != master.key ]; then
    fail "the masterkey in [main] of $CONFIG must be master.key, a file beside it: the units get private copies of both; move $ANSWER there"
    return
  fi
  toml_default main masterkey master.key || return
  file=$(dirname "$CONFIG")/master.key
  [ ! -e "$file" ] || return 0
  (umask 077 && head -c 32 /dev/urandom | base64 >"$file.new" && mv -n "$file.new" "$file") || fail "cannot write $file" || return
  changed
  say "systemd: made the master key $file; keep a backup of it, and copy it to other machines with a control-plane or broker."
}

service_database() {
  local url=${DATABASE_URL-}
  if [ -z "$url" ] && ! { toml_get control-plane database || toml_get broker database; }; then
    [ -z "$YES" ] || fail 'the services control-plane and broker need PostgreSQL; set the variable DATABASE_URL' || return
    ask_secret 'Address of PostgreSQL (postgresql://user:password@host/database)' && [ -n "$ANSWER" ] ||
      fail 'nothing was done without a database' || return
  fi
  url=${url:-$ANSWER}
  if has_service control-plane; then toml_add control-plane database "$url" || return; fi
  if has_service broker; then toml_add broker database "$url"; fi
}

# The system's worker is started by root, so that plugins run as somebody who cannot read triggerfs.toml.
service_worker() {
  if ! printf '%s\n' "${TOML[@]}" | grep -qE '^\[workers\.[^.]+\..+\]'; then
    toml_get main team && TEAM=${TEAM:-$ANSWER}
    need WORKER --worker 'Name of the worker on this machine' "$(hostname -s 2>/dev/null || echo worker01)" || return
    need TEAM --team 'Team of the worker' '' && worker_token && toml_add "$SECTION" token "$ANSWER" || return
  fi
  is_root || return 0
  if [ -z "$WORKER_USER" ] && [ -z "$UNIT_DIR" ] && ! toml_get workers user; then
    WORKER_USER=triggerfs
    if ! getent passwd "$WORKER_USER" >/dev/null; then
      useradd --system --home-dir / --shell /usr/sbin/nologin "$WORKER_USER" || fail "cannot make the user $WORKER_USER" || return
      say "systemd: made the user $WORKER_USER; plugins run as it."
    fi
  fi
  toml_add workers user "$WORKER_USER"
}

# unit_text NAME: the unit for the manager of the system, or of the user, who has no use for the lines between the marks.
unit_text() {
  # shellcheck disable=SC2016 # systemd puts in the folder.
  local text credentials='${CREDENTIALS_DIRECTORY}/triggerfs.toml'
  text=$(<"$DIR/triggerfs/systemd/triggerfs-$1.service")
  if ! is_root; then
    text=$(sed -e '/^# system:/,/^# end/d' -e 's/^WantedBy=.*/WantedBy=default.target/' <<<"$text")
    credentials=$CONFIG
  else
    text=$(sed -e '/^# system:/d' -e '/^# end/d' <<<"$text")
  fi
  text=${text//@CREDENTIALS@/"$credentials"}
  text=${text//@MASTERKEY@/"$(dirname "$CONFIG")/master.key"}
  text=${text//@CONFIG@/"$CONFIG"}
  text=${text//@MOUNTPOINT@/"$(unit_mountpoint)"}
  printf '%s\n' "${text//@DIR@/"$DIR"}"
}

# A relative folder of triggerfs.toml is one in the folder of whoever starts triggerfs there; for the system it would lie in /.
unit_mountpoint() {
  if is_root && toml_get triggerfs mountpoint && [[ $ANSWER != /* ]]; then printf -- ' -mountpoint %s' "$SYSTEM_MOUNTPOINT"; fi
}

step_services() {
  local name unit folder written='' manager=(systemctl)
  choose_services || return
  DIR=${DIR:-$(default_dir)}
  absolute_path --dir "$DIR" && DIR=$ANSWER
  [ -d "$DIR/triggerfs/systemd" ] || fail "there are no modules in $DIR; install them first, or name their folder with --dir" || return
  service_config || return
  if is_root; then folder=/etc/systemd/system; else folder=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user manager=(systemctl --user); fi
  folder=${UNIT_DIR:-$folder}
  mkdir -p "$folder" || fail "cannot write to $folder" || return
  for name in ${SERVICES//,/ }; do
    unit=$folder/triggerfs-$name.service
    if [ -e "$unit" ] && [ "$(<"$unit")" = "$(unit_text "$name")" ]; then continue; fi
    unit_text "$name" >"$unit" || fail "cannot write $unit" || return
    written+=" triggerfs-$name.service"
  done
  [ -z "$written" ] || changed
  if [ -n "$written" ]; then say "systemd: wrote$written to $folder."; else say "systemd: the units in $folder are as they should be; nothing to do."; fi
  [ -z "$UNIT_DIR" ] || return 0
  start_services "${manager[@]}"
}

start_services() {
  local name units=()
  for name in ${SERVICES//,/ }; do units+=("triggerfs-$name.service"); done
  if ! "$@" show-environment >/dev/null 2>&1; then
    say "systemd does not run here for this user; where it does: $* daemon-reload && $* enable --now ${units[*]}"
    return
  fi
  if [ -n "$CHANGED" ] || ! "$@" is-active --quiet "${units[@]}"; then
    { "$@" daemon-reload && "$@" enable --quiet "${units[@]}" && "$@" restart "${units[@]}"; } ||
      fail "systemd did not start all of ${units[*]}; see: journalctl${2:+ $2} -u ${units[0]}" || return
    changed
    say "systemd: started ${units[*]}."
  fi
  is_root || say 'Note: they end when you log out, unless you say: loginctl enable-linger'
}
