#!/usr/bin/env bash
# The installer of triggerFS: sign-up, activation, team, modules, triggerfs.toml and systemd units, from a menu or,
# with --yes, from a script. `./install.sh --help` lists the options; docs/install.md explains them.
#
# This file reads the arguments and finds the parts of the installer, installer/*.sh: they lie beside it, or, when it came alone
# (curl ... | bash), in the package, which is fetched first and goes on with its own install.sh.
#
# Secrets are read from the terminal, from files or from variables, and handed on through pipes: they are never in
# arguments, which all users of a machine can see, and never printed.
set -euo pipefail

readonly ALL_STEPS='modules signup activate team config services'
readonly ALL_SERVICES='control-plane broker worker fs'
# Empty when the script comes through a pipe; in functions bash would name it `main` then.
readonly SOURCE=${BASH_SOURCE[0]-}
readonly EXIT_USAGE=64 EXIT_FAILED=1 EXIT_UNFINISHED=75

# The options, and what is asked for in their place.
YES='' PLAIN='' STEPS=()
API='' IDENTITY='' EMAIL='' PASSWORD='' PASSWORD_FILE='' TEAM='' CODE=''
PACKAGE='' DIR='' BIN_DIR='' CONFIG='' SERVICES='' UNIT_DIR=''
WORKER='' TOKEN_FILE='' WORKER_USER=''
# The folder of this file and one for temporary files; whether anything was changed; what a function answers beside its exit code.
ROOT='' WORK='' CHANGED='' ANSWER=''

usage() {
  cat <<'TEXT'
Usage: install.sh [options] [step ...]

Without steps and without --yes, shows a menu. Steps: modules signup activate team config services

  --yes                 Ask nothing; what is needed comes from options, variables and an existing triggerfs.toml
  --plain               Plain prompts, even where dialog or whiptail is installed
  --api URL             Address of the control-plane; default http://127.0.0.1:8642
  --identity NAME       Identity to sign up or log in with
  --email ADDRESS       Mail address for the sign-up
  --password-file FILE  File whose first line is the password
  --code CODE           Activation code
  --team NAME           Team to make, or to work in
  --dir DIR             Where the modules go; default /opt/triggerfs, or ~/.local/share/triggerfs without root
  --bin-dir DIR         Where links to the programs go, or none; default /usr/local/bin or ~/.local/bin
  --package FILE        Install this packed triggerFS (`npm pack`), a file or an address, instead of the checkout that
                        install.sh lies in
  --config FILE         Configuration to write; default ~/triggerfs.toml
  --worker NAME         Worker of this machine; it is made when the configuration has no token for it
  --token-file FILE     File whose first line is the token of that worker, when it exists already
  --worker-user USER    User that plugins run as, for a worker that root starts
  --services LIST       systemd units: some of control-plane,broker,worker,fs
  --unit-dir DIR        Only write the units there; nothing is started
  --help                Print this

Variables: DATABASE_URL is the PostgreSQL of the services control-plane and broker.
Exit codes: 0 done, 1 failed, 64 wrong options, 75 not finished (an activation code is needed; run it again).
TEXT
}

die() {
  printf 'install.sh: %s\n' "$2" >&2
  exit "$1"
}

cleanup() {
  [ -z "$WORK" ] || rm -rf "$WORK"
}

have() {
  command -v "$1" >/dev/null 2>&1
}

is_root() {
  [ "$(id -u)" = 0 ]
}

# To be called after every change; a script that made none says so at its end.
changed() {
  CHANGED=1
}

# Home of the person at the keyboard, also through sudo.
home() {
  local home=''
  if is_root && [ -n "${SUDO_USER-}" ]; then home=$(getent passwd "$SUDO_USER" | cut -d: -f6); fi
  printf '%s\n' "${home:-${HOME:-/root}}"
}

# The paths end up in unit files and wrapper scripts, where other characters would need three kinds of quoting.
absolute_path() {
  local path=$2
  [[ $path == /* ]] || path=$PWD/$path
  [[ $path =~ ^/[A-Za-z0-9._/+@=,-]*$ ]] || die "$EXIT_USAGE" "$1: $path has a character that is not allowed here"
  ANSWER=${path%/}
}

# An address whose traffic nobody else reads or changes.
stays_private() {
  case $1 in
    https://* | http://127.* | http://localhost | http://localhost:* | http://localhost/* | http://\[::1\]*) ;;
    *) return 1 ;;
  esac
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --yes) YES=1 && shift && continue ;;
      --plain) PLAIN=1 && shift && continue ;;
      --help | -h | -help) usage && exit 0 ;;
      --*) [ $# -ge 2 ] || die "$EXIT_USAGE" "$1 needs a value, or is no option; see --help" ;;
      *) STEPS+=("$1") && shift && continue ;;
    esac
    case $1 in
      --api) API=$2 ;;
      --identity) IDENTITY=$2 ;;
      --email) EMAIL=$2 ;;
      --password-file) PASSWORD_FILE=$2 ;;
      --team) TEAM=$2 ;;
      --code) CODE=$2 ;;
      --dir) absolute_path "$1" "$2" && DIR=$ANSWER ;;
      --bin-dir) if [ "$2" = none ]; then BIN_DIR=none; else absolute_path "$1" "$2" && BIN_DIR=$ANSWER; fi ;;
      --package) PACKAGE=$2 ;;
      --config) absolute_path "$1" "$2" && CONFIG=$ANSWER ;;
      --worker) WORKER=$2 ;;
      --token-file) TOKEN_FILE=$2 ;;
      --worker-user) WORKER_USER=$2 ;;
      --services) SERVICES=$2 ;;
      --unit-dir) absolute_path "$1" "$2" && UNIT_DIR=$ANSWER ;;
      *) die "$EXIT_USAGE" "unknown option $1; see --help" ;;
    esac
    shift 2
  done
}

check_names() {
  local name
  for name in ${SERVICES//,/ }; do
    [[ " $ALL_SERVICES " == *" $name "* ]] || die "$EXIT_USAGE" "--services: there is no service $name, only ${ALL_SERVICES// /, }"
  done
  for name in ${STEPS[@]+"${STEPS[@]}"}; do
    [[ " $ALL_STEPS " == *" $name "* ]] || die "$EXIT_USAGE" "there is no step $name; see --help"
  done
}

# The folder of this file in ROOT, when it is a checkout of triggerFS or its unpacked package.
find_root() {
  local folder
  [ -n "$SOURCE" ] || return 0
  folder=$(dirname "$(readlink -f "$SOURCE")")
  if grep -qs '"name": "triggerfs"' "$folder/package.json" && [ -d "$folder/installer" ]; then ROOT=$folder; fi
}

# ---- The package ----

# PACKAGE, a file or an address, becomes a file; its package.json is in $WORK. Returns 1 with what is wrong in ANSWER.
get_package() {
  local file=$PACKAGE
  if [[ $PACKAGE =~ ^https?:// ]]; then
    stays_private "$PACKAGE" ||
      { ANSWER="$PACKAGE is not https: whoever is in between could change it; download and check it yourself" && return 1; }
    file=$WORK/package.tgz
    printf 'Downloading %s ...\n' "$PACKAGE"
    download "$PACKAGE" "$file" 2>"$WORK/download.log" ||
      { ANSWER="cannot download $PACKAGE: $(tail -n 1 "$WORK/download.log")" && return 1; }
  fi
  if ! tar -xOf "$file" package/package.json >"$WORK/package.json" 2>/dev/null; then
    ANSWER="$PACKAGE is no packed npm package"
    return 1
  fi
  PACKAGE=$file
}

# download ADDRESS FILE: with curl, or wget where that is what people fetched this script with.
download() {
  if have curl; then
    curl -q --fail --location --silent --show-error --max-time 300 --output "$2" "$1"
  elif have wget; then
    wget --no-verbose --tries=1 --timeout=60 --output-document="$2" "$1"
  else
    echo 'this needs curl (as root: apt-get install curl ca-certificates)' >&2
    return 1
  fi
}

# For an install.sh alone: the one in the package goes on, with the same options, and installs that very file.
hand_over() {
  local given=$PACKAGE input=0 status=0
  # `curl ... | bash`: the script is the standard input, so people are asked at their terminal.
  if [ ! -t 0 ] && [ -z "$SOURCE" ] && { : </dev/tty; } 2>/dev/null; then exec {input}</dev/tty; fi
  until [ -n "$PACKAGE" ] && get_package; do
    [ -z "$given" ] || die "$EXIT_FAILED" "$ANSWER"
    [ -z "$YES" ] || die "$EXIT_FAILED" 'install.sh lies in no checkout of triggerFS; run the one of a checkout, or give --package'
    [ -z "$PACKAGE" ] || printf 'install.sh: %s\n' "$ANSWER" >&2
    printf 'Packed triggerFS, a file or an address: '
    IFS= read -r PACKAGE <&"$input" || die "$EXIT_USAGE" 'the input has ended before all was answered'
  done
  tar -xzf "$PACKAGE" -C "$WORK" --no-same-owner package/package.json package/install.sh package/installer 2>/dev/null ||
    die "$EXIT_FAILED" "there is no installer in $PACKAGE: it is no package of triggerFS, or one of an older version"
  bash "$WORK/package/install.sh" "$@" --package "$PACKAGE" <&"$input" || status=$?
  exit "$status"
}

main() {
  parse "$@"
  check_names
  # Services run as other users and must be able to read the programs; the configuration is narrowed where it is written.
  umask 022
  WORK=$(mktemp -d) || die "$EXIT_FAILED" 'cannot make a temporary folder'
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  find_root
  [ -n "$ROOT" ] || hand_over "$@"
  [ -n "$CONFIG" ] || { absolute_path HOME "$(home)/triggerfs.toml" && CONFIG=$ANSWER; }
  . "$ROOT/installer/account.sh"
  . "$ROOT/installer/api.sh"
  . "$ROOT/installer/configuration.sh"
  . "$ROOT/installer/menu.sh"
  . "$ROOT/installer/modules.sh"
  . "$ROOT/installer/node.sh"
  . "$ROOT/installer/prerequisites.sh"
  . "$ROOT/installer/programs.sh"
  . "$ROOT/installer/questions.sh"
  . "$ROOT/installer/services.sh"
  . "$ROOT/installer/steps.sh"
  . "$ROOT/installer/team.sh"
  . "$ROOT/installer/toml.sh"
  . "$ROOT/installer/values.sh"
  . "$ROOT/installer/worker.sh"
  choose_ui
  if [ ${#STEPS[@]} -gt 0 ] || [ -n "$YES" ]; then run_steps; else interact; fi
}

# The last line, so that a script that arrives only in part does nothing.
main "$@"
