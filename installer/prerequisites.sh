# shellcheck shell=bash
# Programs of the system that a step needs.

# prerequisites PROGRAM ...: installs what is missing, after asking.
prerequisites() {
  local program packages=() apt=(apt-get -o DPkg::Lock::Timeout=300)
  for program in "$@"; do
    have "$program" && continue
    case $program in
      curl) packages+=(curl ca-certificates) ;;
      *) packages+=("$program") ;;
    esac
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  have apt-get || fail "this needs ${packages[*]}; install them with the package manager of this system, then run this again" || return
  if ! is_root; then
    have sudo || fail "this needs ${packages[*]}; as root: apt-get install ${packages[*]}" || return
    apt=(sudo "${apt[@]}")
  fi
  ask_yes "Install what is missing with apt-get: ${packages[*]}?" || fail "this needs ${packages[*]}" || return
  progress "Installing ${packages[*]} ..."
  if ! { "${apt[@]}" update -qq && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y -qq --no-install-recommends "${packages[@]}"; } \
    >"$WORK/apt.log" 2>&1 </dev/null; then
    fail "apt-get could not install ${packages[*]}:"$'\n'"$(tail -n 5 "$WORK/apt.log")"
    return
  fi
  changed
}
