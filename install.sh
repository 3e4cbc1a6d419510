#!/usr/bin/env bash
# The installer of triggerFS: sign-up, activation, team, modules, triggerfs.toml and systemd units, from a menu or,
# with --yes, from a script. `./install.sh --help` lists the options; docs/install.md explains them.
#
# Secrets are read from the terminal, from files or from variables, and handed on through pipes: they are never in
# arguments, which all users of a machine can see, and never printed.
set -uo pipefail

readonly NODE_MAJOR=22 NODE_MINOR=18
# Of our own, where the machine has none or an old one; the hashes are those of the packages of npm.
readonly NODE_VERSION=24.21.0 NPM_VERSION=11.19.1
readonly NODE_X64_SHA512=de750bb336795f47dc898a46d2de93add029273027f3e16520d3fa3a2317ed5f07aefa404cf37ddfa5352e545e389ae22d16b87bcc84a900580a72f23cd02ced
readonly NODE_ARM64_SHA512=1692513c4cf63afbd32df8c83a5346158f492cf30a825e66f9de2819804b836e242759a6bcdd5997f1cf2601781c3689e752127afd65d5c459fc333e91e5d6e6
readonly NPM_SHA512=cedb312b1b7f92421a02cfb68b4194e88f8346651dacd6acc5364a25ef5309d4a32b19616a1ff8aff865e7280c0fa5c0835a99f5cd93368991e2a80ec9da75d2
readonly ALL_SERVICES='control-plane broker worker fs'
# Empty when the script comes through a pipe; in functions bash would name it `main` then.
readonly SOURCE=${BASH_SOURCE[0]-}
readonly EXIT_USAGE=64 EXIT_FAILED=1 EXIT_UNFINISHED=75

YES='' PLAIN='' UI=plain STEPS=()
API='' IDENTITY='' EMAIL='' PASSWORD='' PASSWORD_FILE='' TEAM='' CODE=''
PACKAGE='' DIR='' BIN_DIR='' CONFIG='' SERVICES='' UNIT_DIR=''
WORKER='' TOKEN_FILE='' WORKER_USER=''
CHANGED='' WORK='' ANSWER='' REPORT='' INPUT=0
HTTP_STATUS='' HTTP_BODY='' TOML=() TOML_CHANGED=''

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

# ---- Words on the screen ----

# Says a line: at once in a plain terminal, at the end of the step in a dialog.
say() {
  if [ "$UI" = plain ]; then printf '%s\n' "$1"; else REPORT+="$1"$'\n'; fi
}

# Says what went wrong and what to do; always returns 1, for `fail ... || return`.
fail() {
  if [ "$UI" = plain ]; then printf 'install.sh: %s\n' "$*" >&2; else REPORT+="$*"$'\n'; fi
  return 1
}

# A long action goes on in the terminal, whatever the menu looks like.
progress() {
  printf '%s\n' "$1"
}

die() {
  printf 'install.sh: %s\n' "$2" >&2
  exit "$1"
}

# Runs dialog or whiptail; what was typed is in ANSWER. Returns 1 for Cancel and Escape.
widget() {
  ANSWER=$("$UI" --title 'triggerFS' "$@" 3>&1 1>&2 2>&3 <&"$INPUT")
}

read_line() {
  IFS= read -r "$@" ANSWER <&"$INPUT" || [ -n "$ANSWER" ] || die "$EXIT_USAGE" 'the input has ended before all was answered'
}

# ask_text QUESTION DEFAULT
ask_text() {
  if [ "$UI" != plain ]; then widget --inputbox "$1" 10 70 "$2" && return; ANSWER='' && return 1; fi
  printf '%s%s: ' "$1" "${2:+ [$2]}"
  read_line
  ANSWER=${ANSWER:-$2}
}

ask_secret() {
  if [ "$UI" != plain ]; then widget --passwordbox "$1" 10 70 && return; ANSWER='' && return 1; fi
  printf '%s: ' "$1"
  read_line -s
  printf '\n'
}

# ask_yes QUESTION: --yes says yes.
ask_yes() {
  [ -z "$YES" ] || return 0
  if [ "$UI" != plain ]; then widget --yesno "$1" 8 70; return; fi
  printf '%s [Y/n]: ' "$1"
  read_line
  case ${ANSWER:-y} in [Yy]*) return 0 ;; *) return 1 ;; esac
}

# need VARIABLE OPTION QUESTION DEFAULT: asks for what is not known yet.
need() {
  [ -z "${!1}" ] || return 0
  if [ -n "$YES" ]; then
    [ -n "$4" ] || fail "$3 is missing; give $2" || return
    ANSWER=$4
  else
    ask_text "$3" "$4" && [ -n "$ANSWER" ] || fail "nothing was done without: $3" || return
  fi
  printf -v "$1" '%s' "$ANSWER"
}

# ---- Files, text, HTTP ----

cleanup() {
  [ -z "$WORK" ] || rm -rf "$WORK"
}

first_line() {
  [ -r "$1" ] && [ ! -d "$1" ] || fail "cannot read $1" || return
  ANSWER=''
  IFS= read -r ANSWER <"$1" || [ -n "$ANSWER" ] || fail "$1 is empty"
}

have() {
  command -v "$1" >/dev/null 2>&1
}

is_root() {
  [ "$(id -u)" = 0 ]
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

is_name() {
  [[ $1 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$ ]]
}

# A text in quotes, as JSON and TOML both write it.
quoted() {
  local text=$1
  [[ $text != *[[:cntrl:]]* ]] || fail 'control characters are not possible here' || return
  text=${text//\\/\\\\}
  ANSWER="\"${text//\"/\\\"}\""
}

# object KEY VALUE ...: a JSON object of texts.
object() {
  local json=''
  while [ $# -gt 0 ]; do
    quoted "$2" || return
    json+="${json:+,}\"$1\":$ANSWER"
    shift 2
  done
  ANSWER="{$json}"
}

# A text of the last answer; the first one of that name.
field() {
  local pattern="\"$1\":\"(([^\"\\\\]|\\\\.)*)\""
  ANSWER=''
  [[ $HTTP_BODY =~ $pattern ]] || return 1
  ANSWER=${BASH_REMATCH[1]//\\\"/\"}
}

# post PATH BODY [TOKEN]: calls the API. Body and token go through pipes.
post() {
  local answer
  if ! answer=$(curl -q --silent --show-error --max-time 30 --request POST --header 'content-type: application/json' \
    --header @/dev/fd/3 --data-binary @- --write-out '\n%{http_code}' "$API$1" 2>&1 \
    3< <([ -z "${3-}" ] || printf 'authorization: Bearer %s\n' "$3") < <(printf '%s' "$2")); then
    fail "$API does not answer: ${answer%%$'\n'*}. Check the address, and that the server runs."
    return
  fi
  HTTP_STATUS=${answer##*$'\n'}
  HTTP_BODY=${answer%$'\n'*}
}

# What the server says of a refused request.
refused() {
  local detail
  if field detail; then detail=$ANSWER; else detail="the answer $HTTP_STATUS of $API"; fi
  if [ "$HTTP_STATUS" = 429 ]; then detail+=' (wait a minute, then try again)'; fi
  fail "$1: $detail"
}

need_api() {
  if [ -z "$API" ] && saved main api; then API=$ANSWER; fi
  need API --api 'Address of the control-plane' 'http://127.0.0.1:8642' || return
  API=${API%/}
  [[ $API =~ ^https?://[^[:space:]\"]+$ ]] || { fail "$API is no address such as https://triggerfs.example.com"; API=''; return 1; }
  stays_private "$API" || say "Note: $API is not https: whoever is in between can read the password."
}

# An address whose traffic nobody else reads or changes.
stays_private() {
  case $1 in
    https://* | http://127.* | http://localhost | http://localhost:* | http://localhost/* | http://\[::1\]*) ;;
    *) return 1 ;;
  esac
}

need_identity() {
  if [ -z "$IDENTITY" ] && saved main identity; then IDENTITY=$ANSWER; fi
  need IDENTITY --identity 'Identity' '' || return
  is_name "$IDENTITY" || { fail "$IDENTITY is no identity: letters, digits, dots, dashes and underscores"; IDENTITY=''; return 1; }
}

# The password of an account that exists: from the file, from triggerfs.toml, or asked for.
need_password() {
  [ -z "$PASSWORD" ] || return 0
  if [ -n "$PASSWORD_FILE" ]; then
    first_line "$PASSWORD_FILE" || return
  elif saved main identity && [ "$ANSWER" = "$IDENTITY" ] && saved main secret; then
    :
  elif [ -n "$YES" ]; then
    fail 'the password is missing; give --password-file'
    return
  else
    ask_secret "Password of $IDENTITY" && [ -n "$ANSWER" ] || fail 'nothing was done without a password' || return
  fi
  PASSWORD=$ANSWER
}

# Logs in without a team. Sets ANSWER: active, waiting (for its code) or unknown.
account_state() {
  object identity "$IDENTITY" secret "$PASSWORD" || return
  post /v1/login "$ANSWER" || return
  case $HTTP_STATUS in
    200) ANSWER=active ;;
    403) ANSWER=waiting ;;
    401) ANSWER=unknown ;;
    *) refused "cannot log in as $IDENTITY" ;;
  esac
}

# ---- Sign-up, activation, team ----

new_password() {
  local first
  ask_secret 'New password (8 to 72 bytes)' && [ -n "$ANSWER" ] || fail 'nothing was done without a password' || return
  first=$ANSWER
  ask_secret 'Once more' || return
  [ "$ANSWER" = "$first" ] || fail 'the passwords differ; nothing was sent' || return
  PASSWORD=$first
}

step_signup() {
  need_api && need_identity || return
  [[ $IDENTITY =~ ^.{3,32}$ ]] || { fail "the identity $IDENTITY has not 3 to 32 characters"; IDENTITY=''; return 1; }
  if [ -n "$YES" ] || [ -n "$PASSWORD_FILE" ]; then need_password || return; fi
  if [ -n "$PASSWORD" ]; then
    account_state || return
    case $ANSWER in
      active) say "Signup: $IDENTITY has an account already; nothing to do." && return ;;
      waiting) say "Signup: $IDENTITY has signed up already and waits for the activation code." && return ;;
    esac
  fi
  need EMAIL --email 'E-mail' '' || return
  [ -n "$PASSWORD" ] || new_password || return
  object identity "$IDENTITY" email "$EMAIL" password "$PASSWORD" || return
  post /v1/signup "$ANSWER" || return
  if [ "$HTTP_STATUS" != 202 ]; then
    refused 'Signup'
    PASSWORD=''
    [ -n "$YES" ] || IDENTITY='' EMAIL=''
    return 1
  fi
  CHANGED=1
  say "Signup: $IDENTITY is signed up. $(where_code "$EMAIL")"
  [ -n "$YES" ] && return
  step_activate || return
  if ask_yes 'Create a team now?'; then step_team; fi
}

where_code() {
  if field activation && [ "$ANSWER" = mail ]; then
    printf 'The activation code was sent to %s.' "$1"
  else
    printf 'The activation code is in the log of the server, which sends no mail (triggerfs-server shows it in its terminal).'
  fi
}

step_activate() {
  local code
  need_api && need_identity || return
  if [ -n "$PASSWORD" ] || [ -n "$YES" ] || [ -n "$PASSWORD_FILE" ]; then
    need_password && account_state || return
    case $ANSWER in
      active) say "Activate: the account $IDENTITY is active; nothing to do." && return ;;
      unknown) fail "Activate: there is no account $IDENTITY with this password; sign up first"; PASSWORD=''; return 1 ;;
    esac
  fi
  if [ -z "$CODE" ] && [ -n "$YES" ]; then
    fail 'Activate: the activation code is needed. Run this again with --code CODE.'
    return "$EXIT_UNFINISHED"
  fi
  while :; do
    code=$CODE CODE=''
    if [ -z "$code" ]; then
      ask_text 'Activation code (r sends another one, empty is later)' '' || return
      code=$ANSWER
    fi
    case $code in
      '') fail 'Activate: the account waits for its code; choose Activate when you have it'; return "$EXIT_UNFINISHED" ;;
      r) resend_code || return; continue ;;
    esac
    object identity "$IDENTITY" code "$code" || return
    post /v1/activate "$ANSWER" || return
    [ "$HTTP_STATUS" != 204 ] || break
    refused 'Activate'
    [ "$HTTP_STATUS" = 401 ] && [ -z "$YES" ] && [ "$UI" = plain ] || return 1
  done
  CHANGED=1
  say "Activate: the account $IDENTITY is active."
}

resend_code() {
  object identity "$IDENTITY"
  post /v1/signup/resend "$ANSWER" || return
  [ "$HTTP_STATUS" = 202 ] || refused 'Activate' || return
  say "Another code is sent, at most once a minute and three times. $(where_code 'your address')"
}

step_team() {
  local token
  need_api && need_identity && need_password || return
  need TEAM --team 'Name of the team' '' || return
  is_name "$TEAM" || { fail "$TEAM is no name of a team: letters, digits, dots, dashes and underscores"; TEAM=''; return 1; }
  account_state || return
  case $ANSWER in
    waiting) fail "Create team: the account $IDENTITY waits for its activation code" && return ;;
    unknown) fail "Create team: identity or password of $IDENTITY is wrong"; PASSWORD=''; return 1 ;;
  esac
  if [[ $HTTP_BODY == *"\"name\":\"$TEAM\""* ]]; then
    say "Create team: $IDENTITY is in the team $TEAM already; nothing to do."
    return
  fi
  field apiToken
  token=$ANSWER
  object name "$TEAM"
  post /v1/teams "$ANSWER" "$token" || return
  [ "$HTTP_STATUS" = 201 ] || { refused 'Create team'; [ -n "$YES" ] || TEAM=''; return 1; }
  CHANGED=1
  say "Create team: $IDENTITY owns the team $TEAM."
}

# ---- Prerequisites and modules ----

node_is_new() {
  local version major minor
  have node || return 1
  version=$(node --version 2>/dev/null) || return 1
  IFS=. read -r major minor _ <<<"${version#v}"
  [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] || return 1
  [ "$major" -gt "$NODE_MAJOR" ] || { [ "$major" = "$NODE_MAJOR" ] && [ "$minor" -ge "$NODE_MINOR" ]; }
}

# prerequisites PROGRAM ...: installs what is missing, after asking.
prerequisites() {
  local program packages=() apt=(apt-get)
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
    apt=(sudo apt-get)
  fi
  ask_yes "Install what is missing with apt-get: ${packages[*]}?" || fail "this needs ${packages[*]}" || return
  progress "Installing ${packages[*]} ..."
  if ! { "${apt[@]}" update -qq && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y -qq --no-install-recommends "${packages[@]}"; } \
    >"$WORK/apt.log" 2>&1 </dev/null; then
    fail "apt-get could not install ${packages[*]}:"$'\n'"$(tail -n 5 "$WORK/apt.log")"
    return
  fi
  CHANGED=1
}

# The package in a file: what --package names, or the checkout packed. Sets PACKAGE.
find_package() {
  local root=''
  [ -z "$SOURCE" ] || root=$(cd "$(dirname "$SOURCE")" && pwd)
  [ -n "$root" ] && grep -qs '"name": "triggerfs"' "$root/package.json" || root=''
  if [ -z "$PACKAGE$root" ]; then
    [ -z "$YES" ] || fail 'install.sh lies in no checkout of triggerFS; run the one of a checkout, or give --package' || return
    need PACKAGE --package 'Packed triggerFS, a file or an address' '' || return
  fi
  if [[ $PACKAGE =~ ^https?:// ]]; then
    stays_private "$PACKAGE" || { fail "$PACKAGE is not https: whoever is in between could change it; download and check it yourself"; PACKAGE=''; return 1; }
    progress "Downloading $PACKAGE ..."
    curl -q --fail --location --silent --show-error --max-time 300 --output "$WORK/package.tgz" "$PACKAGE" 2>"$WORK/curl.log" ||
      { fail "cannot download $PACKAGE: $(tail -n 1 "$WORK/curl.log")"; PACKAGE=''; return 1; }
    PACKAGE=$WORK/package.tgz
  fi
  if [ -n "$PACKAGE" ]; then
    tar -xOf "$PACKAGE" package/package.json >"$WORK/package.json" 2>/dev/null && return
    fail "$PACKAGE is no packed npm package"
    PACKAGE=''
    return 1
  fi
  cp "$root/package.json" "$WORK/package.json"
  use_node || return
  if [ -f "$root/tsconfig.json" ] && [ ! -d "$root/node_modules/typescript" ]; then
    progress "Getting what triggerFS is built with, into $root/node_modules ..."
    npm_run ci --ignore-scripts --prefix "$root" || return
  fi
  progress 'Packing the checkout ...'
  mkdir -p "$WORK/pack" && npm_run pack "$root" --pack-destination "$WORK/pack" || return
  PACKAGE=$(echo "$WORK"/pack/*.tgz)
}

# npm with its output in a file, shown only when it fails. Settings of npm (registry, proxy, omit) hold.
npm_run() {
  if ! npm "$@" --no-audit --no-fund --no-progress >"$WORK/npm.log" 2>&1 </dev/null; then
    fail "npm $1 failed:"$'\n'"$(tail -n 15 "$WORK/npm.log")"
  fi
}

# Puts a Node.js that is new enough first on the search path: the machine's, or one of our own from npm.
# An old npm may not run on a new Node.js, so our own npm comes along with it.
use_node() {
  local arch hash
  if node_is_new && have npm; then return; fi
  case $(uname -m) in
    x86_64) arch=x64 hash=$NODE_X64_SHA512 ;;
    aarch64) arch=arm64 hash=$NODE_ARM64_SHA512 ;;
    *) fail "there is no Node.js for $(uname -m) here; install Node.js $NODE_MAJOR.$NODE_MINOR or newer, and npm" || return ;;
  esac
  if [ "$(cat "$DIR/node/version" 2>/dev/null)" != "$NODE_VERSION $NPM_VERSION" ]; then
    if ! have node; then
      progress "There is no Node.js here: installing $NODE_VERSION into $DIR/node ..."
    elif node_is_new; then
      progress "There is no npm here: installing one and Node.js $NODE_VERSION into $DIR/node ..."
    else
      progress "Node.js here is $(node --version), older than $NODE_MAJOR.$NODE_MINOR: installing $NODE_VERSION into $DIR/node ..."
    fi
    rm -rf "$DIR/node.new" && mkdir -p "$DIR/node.new/lib/npm" &&
      fetch_package "node-linux-$arch" "$NODE_VERSION" "$hash" "$DIR/node.new" bin/node LICENSE &&
      fetch_package npm "$NPM_VERSION" "$NPM_SHA512" "$DIR/node.new/lib/npm" || return
    chmod 755 "$DIR/node.new/bin/node" "$DIR/node.new/lib/npm/bin/npm-cli.js" && ln -s ../lib/npm/bin/npm-cli.js "$DIR/node.new/bin/npm" &&
      printf '%s\n' "$NODE_VERSION $NPM_VERSION" >"$DIR/node.new/version" && rm -rf "$DIR/node" && mv "$DIR/node.new" "$DIR/node" ||
      fail "cannot write to $DIR/node" || return
    CHANGED=1
  fi
  PATH=$DIR/node/bin:$PATH
  hash -r
  node_is_new || fail "the Node.js in $DIR/node does not run on this machine; install Node.js $NODE_MAJOR.$NODE_MINOR or newer, and npm"
}

# fetch_package NAME VERSION SHA512 FOLDER [FILE ...]: unpacks a package of npm, or some of its files. With npm, npm fetches it,
# because it knows its registry, proxies, caches and passwords; otherwise curl does, from the registry in the settings of npm.
# Where there are none, the npm of the system is installed for what it knows.
fetch_package() {
  local file=$WORK/$1.tgz folder=$4 registry cafile options=()
  local wanted=("${@:5}")
  have npm || [ -n "$(npm_setting registry)" ] || prerequisites npm || return
  if have npm; then
    npm_run pack "$1@$2" --pack-destination "$WORK" && mv "$WORK/$1-$2.tgz" "$file" || return
  else
    registry=$(npm_setting registry) cafile=$(npm_setting cafile)
    [ -z "$cafile" ] || options=(--cacert "$cafile")
    curl -q --fail --location --silent --show-error --max-time 600 ${options[@]+"${options[@]}"} --output "$file" \
      "${registry%/}/$1/-/$1-$2.tgz" 2>"$WORK/curl.log" || fail "cannot download $1 $2: $(tail -n 1 "$WORK/curl.log")" || return
  fi
  [ "$(sha512sum "$file" | cut -d' ' -f1)" = "$3" ] || fail "the package $1 $2 from ${registry:-npm} is not the one that is expected; nothing was done with it" || return
  tar -xzf "$file" -C "$folder" --strip-components=1 --no-same-owner ${wanted[@]+"${wanted[@]/#/package/}"} || fail "cannot unpack $1 into $folder"
}

# A setting of npm where there is no npm to ask: from its variable or the person's .npmrc.
npm_setting() {
  local variable=npm_config_$1
  if [ -n "${!variable-}" ]; then printf '%s\n' "${!variable}" && return; fi
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "${npm_config_userconfig:-$HOME/.npmrc}" 2>/dev/null | tail -n 1
}

step_modules() {
  local hash
  prerequisites curl tar || return
  if [ -z "$DIR" ]; then
    need DIR --dir 'Folder for the modules' "$(default_dir)" || return
  fi
  absolute_path --dir "$DIR"
  DIR=$ANSWER
  if ! mkdir -p "$DIR" 2>/dev/null || [ ! -w "$DIR" ]; then
    fail "cannot write to $DIR; choose another folder with --dir"
    DIR=''
    return 1
  fi
  DIR=$(readlink -f "$DIR")
  find_package && use_node || return
  hash=$(sha256sum "$PACKAGE" | cut -d' ' -f1)
  if grep -qsx "$hash" "$DIR/installed" && "$DIR/bin/triggerfs-client" -help >/dev/null 2>&1; then
    link_programs || return
    say "Modules: this version is in $DIR already; nothing to do."
    return
  fi
  progress "Installing triggerFS into $DIR (this takes a minute) ..."
  install_package || return
  (cd "$DIR/new" && node -e 'import("zeromq")') >"$WORK/zeromq.log" 2>&1 ||
    fail "ZeroMQ does not run on this machine:"$'\n'"$(tail -n 5 "$WORK/zeromq.log")" || return
  # What was there is used until here, and stays when anything failed.
  rm -rf "$DIR/triggerfs" && mv "$DIR/new" "$DIR/triggerfs" && write_wrappers && link_programs || return
  "$DIR/bin/triggerfs-client" -help >/dev/null || fail "what was installed into $DIR does not run" || return
  printf '%s\n' "$hash" >"$DIR/installed"
  CHANGED=1
  say "Modules: installed into $DIR."
}

# The package and what it depends on, in the versions and with the contents that its lock file names, in DIR/new.
# No install script is needed: binaries for Linux come with the packages, and building them would take compilers.
install_package() {
  local omit
  rm -rf "$DIR/new" && mkdir -p "$DIR/new" && tar -xzf "$PACKAGE" -C "$DIR/new" --strip-components=1 --no-same-owner &&
    cp "$DIR/new/dist/lock.json" "$DIR/new/package-lock.json" || fail "cannot unpack $PACKAGE into $DIR/new" || return
  omit=$(npm config get omit 2>/dev/null)
  # shellcheck disable=SC2046,SC2086 # One option a word.
  npm_run ci --ignore-scripts --install-links --prefix "$DIR/new" $(printf -- '--omit=%s ' dev ${omit//,/ })
}

default_dir() {
  if is_root; then echo /opt/triggerfs; else echo "$HOME/.local/share/triggerfs"; fi
}

write_wrappers() {
  local name file node own=''
  node=$(node -p process.execPath) || return
  if [[ $node == "$DIR"/node/* ]]; then own="PATH=\"$DIR/node/bin:\$PATH\" "; fi
  mkdir -p "$DIR/bin" || return
  while read -r name file; do
    printf '#!/bin/sh\n# Written by install.sh of triggerFS.\n%sexec "%s" "%s/triggerfs/%s" "$@"\n' \
      "$own" "$node" "$DIR" "$file" >"$DIR/bin/$name" && chmod 755 "$DIR/bin/$name" || return
  done < <(sed -n 's/^ *"\(triggerfs[a-z-]*\)": "\(dist[^"]*\)".*/\1 \2/p' "$WORK/package.json")
}

link_programs() {
  local program link
  if [ -z "$BIN_DIR" ]; then
    if is_root; then BIN_DIR=/usr/local/bin; else BIN_DIR=$HOME/.local/bin; fi
  fi
  [ "$BIN_DIR" != none ] || return 0
  mkdir -p "$BIN_DIR" || return
  for program in "$DIR"/bin/*; do
    link=$BIN_DIR/${program##*/}
    [ "$(readlink "$link")" != "$program" ] || continue
    if [ -e "$link" ] && [ ! -L "$link" ]; then say "Note: $link is a file of yours and stays."; continue; fi
    ln -sfn "$program" "$link" || return
    CHANGED=1
  done
  case :$PATH: in *:"$BIN_DIR":*) ;; *) say "Note: $BIN_DIR is not in PATH." ;; esac
}

# ---- triggerfs.toml ----

read_toml() {
  TOML=()
  TOML_CHANGED=''
  [ -e "$CONFIG" ] || return 1
  mapfile -t TOML <"$CONFIG"
}

# A text of the configuration as it is on the disk, whatever is being changed.
saved() {
  local TOML=() TOML_CHANGED=''
  read_toml && toml_get "$1" "$2"
}

# Section of a header line as section_of spells it; 1 for other lines.
header_of() {
  local rest names=() name='^[[:space:]]*("([^"]*)"|'"'([^']*)'"'|([^."[:space:]]+))[[:space:]]*(\.|$)'
  [[ $1 =~ ^[[:space:]]*\[([^]]+)\] ]] || return 1
  rest=${BASH_REMATCH[1]}
  while [[ $rest =~ $name ]]; do
    names+=("${BASH_REMATCH[2]-}${BASH_REMATCH[3]-}${BASH_REMATCH[4]-}")
    rest=${rest:${#BASH_REMATCH[0]}}
  done
  section_of ${names[@]+"${names[@]}"}
}

# section_of NAME...: names with a dot in quotes, because TOML reads a bare dot as the beginning of a deeper section.
section_of() {
  local name
  ANSWER=''
  for name; do
    [[ $name != *.* ]] || name="\"$name\""
    ANSWER+=${ANSWER:+.}$name
  done
}

# The section of this machine's worker in SECTION. A header that lacks the quotes can only be meant for it, and gets them.
worker_section() {
  local i
  section_of workers "$TEAM" "$WORKER"
  SECTION=$ANSWER
  [ "$SECTION" != "workers.$TEAM.$WORKER" ] || return 0
  for i in "${!TOML[@]}"; do
    [[ ${TOML[i]} =~ ^[[:space:]]*\["workers.$TEAM.$WORKER"\] ]] || continue
    TOML[i]="[$SECTION]"
    TOML_CHANGED=1
  done
}

# toml_find SECTION KEY: LINE is the key's line, or -1; AFTER the line after the section's last entry, or -1.
toml_find() {
  local i section='' pattern="^[[:space:]]*$2[[:space:]]*="
  LINE=-1 AFTER=-1
  for i in "${!TOML[@]}"; do
    if header_of "${TOML[i]}"; then section=$ANSWER; fi
    [ "$section" = "$1" ] || continue
    [[ ! ${TOML[i]} =~ ^[[:space:]]*(#|$) ]] && AFTER=$((i + 1))
    [[ ${TOML[i]} =~ $pattern ]] && LINE=$i
  done
}

# A text in ANSWER; 1 when it is missing or empty.
toml_get() {
  local value='=[[:space:]]*("(([^"\\]|\\.)*)"|'"'([^']*)')"
  toml_find "$1" "$2"
  ANSWER=''
  [ "$LINE" -ge 0 ] && [[ ${TOML[LINE]} =~ $value ]] || return 1
  ANSWER=${BASH_REMATCH[2]:-${BASH_REMATCH[4]-}}
  ANSWER=${ANSWER//\\\"/\"}
  ANSWER=${ANSWER//\\\\/\\}
  [ -n "$ANSWER" ]
}

# toml_add SECTION KEY VALUE: fills in what is missing or empty; what people wrote stays.
toml_add() {
  local line
  [ -n "$3" ] || return 0
  quoted "$3" || return
  line="$2 = $ANSWER"
  toml_find "$1" "$2"
  if [ "$LINE" -ge 0 ]; then
    if [[ ${TOML[LINE]} =~ =[[:space:]]*\"\"[[:space:]]*$ ]]; then
      TOML[LINE]=$line
      TOML_CHANGED=1
    elif toml_get "$1" "$2" && [ "$ANSWER" != "$3" ]; then
      say "Note: $CONFIG has another $2 in [$1] and keeps it."
    fi
    return 0
  fi
  if [ "$AFTER" -ge 0 ]; then
    TOML=("${TOML[@]:0:AFTER}" "$line" "${TOML[@]:AFTER}")
  else
    TOML+=('' "[$1]" "$line")
  fi
  TOML_CHANGED=1
}

# Like toml_add, for values that nobody asked for: no word when people chose another one.
toml_default() {
  toml_get "$1" "$2" || toml_add "$1" "$2" "$3"
}

toml_template() {
  cat <<'TEXT'
# Configuration of triggerFS, written by install.sh. Yours to edit: install.sh only adds what is missing.
# All keys: docs/configuration.md

### MAIN SECTION
[main]
# address of the control-plane
api = ""
# team name for login
team = ""
# identity for login
identity = ""
# password for login
secret = ""
### MAIN SECTION END

### TRIGGERFS SECTION
[triggerfs]
# where the trigger files are mounted
mountpoint = ""
# file that responses are appended to; empty for none
logfile = ""
### TRIGGERFS SECTION END

### CLIENT SECTION
[triggerfs-client]
# timeout when -timeout is not given; without it the service's own counts
# timeout = "30s"
### CLIENT SECTION END

### WORKERS SECTION
[workers]
# path to plugins folder; empty means the plugins that come with triggerFS
pluginspath = ""
# subsections of [workers] are named by team and identity: [workers.TEAM.IDENTITY]
TEXT
}

# Writes beside the file and renames, so that a full disk or a power cut leaves the old one.
write_toml() {
  local folder owner='' file=$CONFIG
  if [ -z "$TOML_CHANGED" ]; then
    [ "$(stat -c %a "$CONFIG")" != 600 ] || return 0
    chmod 600 "$CONFIG" && CHANGED=1
    return
  fi
  [ ! -L "$file" ] || file=$(readlink -f "$file")
  folder=$(dirname "$file")
  # What root makes in somebody's home is theirs.
  if [ -e "$file" ]; then owner=$file; elif is_root && [ -d "$folder" ]; then owner=$folder; fi
  (
    umask 077
    mkdir -p "$folder" && printf '%s\n' "${TOML[@]}" >"$file.new" && chmod 600 "$file.new" &&
      { [ -z "$owner" ] || chown --reference="$owner" "$file.new"; } && mv -f "$file.new" "$file"
  ) || fail "cannot write $CONFIG; choose another file with --config" || return
  CHANGED=1
}

# The token of this machine's worker: from the configuration, from a file, or by making the worker. Its section in SECTION.
worker_token() {
  local token
  worker_section
  if [ -z "$TOKEN_FILE" ]; then
    toml_get "$SECTION" token && return
    need_api && need_identity && need_password || return
    object team "$TEAM" identity "$IDENTITY" secret "$PASSWORD" && post /v1/login "$ANSWER" || return
    [ "$HTTP_STATUS" = 200 ] && field apiToken || refused "cannot log in to the team $TEAM as $IDENTITY" || return
    token=$ANSWER
    object identity "$WORKER" && post /v1/workers "$ANSWER" "$token" || return
    if [ "$HTTP_STATUS" = 409 ]; then
      fail "the team $TEAM has a worker $WORKER already: put its token into a file and give --token-file, or make a new one" \
        "in triggerfs-cli (request worker $WORKER token)"
      return
    fi
    [ "$HTTP_STATUS" = 201 ] && field token || refused "cannot make the worker $WORKER" || return
    CHANGED=1
    say "Configuration: made the worker $WORKER in the team $TEAM."
    return
  fi
  first_line "$TOKEN_FILE"
}

step_config() {
  local existed=''
  need_toml_names || return
  if read_toml; then existed=1; else mapfile -t TOML < <(toml_template); fi
  toml_add main api "${API:-http://127.0.0.1:8642}" && toml_add main team "$TEAM" && toml_add main identity "$IDENTITY" || return
  [ -z "$PASSWORD" ] || toml_add main secret "$PASSWORD" || return
  toml_default triggerfs mountpoint "$(default_mountpoint)" || return
  [ -z "$WORKER_USER" ] || toml_add workers user "$WORKER_USER" || return
  [ -z "$WORKER" ] || { worker_token && toml_add "$SECTION" token "$ANSWER"; } || return
  local changed=$TOML_CHANGED
  write_toml || return
  if [ -n "$changed" ] && [ -n "$existed" ]; then
    say "Configuration: added what was missing to $CONFIG."
  elif [ -n "$changed" ]; then
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
  if is_root && has_service fs; then echo /mnt/triggerfs; else echo ./mountpoint; fi
}

# ---- systemd ----

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
  CHANGED=1
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
  local line
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
  printf '%s\n' "${text//@DIR@/"$DIR"}"
}

step_services() {
  local name unit folder changed='' manager=(systemctl)
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
    changed+=" triggerfs-$name.service"
  done
  [ -z "$changed" ] || CHANGED=1
  if [ -n "$changed" ]; then say "systemd: wrote$changed to $folder."; else say "systemd: the units in $folder are as they should be; nothing to do."; fi
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
    CHANGED=1
    say "systemd: started ${units[*]}."
  fi
  is_root || say 'Note: they end when you log out, unless you say: loginctl enable-linger'
}

# ---- The menu and the script ----

menu() {
  local items=('Signup' 'Activate' 'Create team' 'Download modules' 'Write configuration' 'systemd services' 'Quit') i tags=()
  if [ "$UI" = plain ]; then
    printf '\ntriggerFS installer\n\n'
    for i in "${!items[@]}"; do printf '  %s  %s\n' "$((i + 1))" "${items[i]}"; done
    printf '\n'
    ask_text 'Choice' ''
    return
  fi
  for i in "${!items[@]}"; do tags+=("$((i + 1))" "${items[i]}"); done
  widget --menu 'What shall be done?' 0 0 0 "${tags[@]}" || ANSWER=7
}

interact() {
  while :; do
    menu
    case $ANSWER in
      1) run_step signup ;;
      2) run_step activate ;;
      3) run_step team ;;
      4) run_step modules ;;
      5) run_step config ;;
      6) run_step services; SERVICES='' ;;
      7 | q | Q) return 0 ;;
      *) say "Choose one of 1 to 7." ;;
    esac
    if [ "$UI" != plain ] && [ -n "$REPORT" ]; then widget --msgbox "$REPORT" 0 0; fi
    REPORT=''
  done
}

run_step() {
  case $1 in
    signup) prerequisites curl && step_signup ;;
    activate) prerequisites curl && step_activate ;;
    team) prerequisites curl && step_team ;;
    modules) step_modules ;;
    config) step_config ;;
    services) step_services ;;
    *) die "$EXIT_USAGE" "there is no step $1; see --help" ;;
  esac
}

# All that was asked for by options, in order; the first failure ends it.
run_steps() {
  local step status
  for step in "$@"; do
    run_step "$step"
    status=$?
    if [ "$status" != 0 ]; then
      [ "$UI" = plain ] || printf '%s' "$REPORT" >&2
      [ "$status" = "$EXIT_UNFINISHED" ] || status=$EXIT_FAILED
      exit "$status"
    fi
  done
  [ "$UI" = plain ] || printf '%s' "$REPORT"
  if [ -z "$CHANGED" ]; then echo 'Nothing was changed: everything is in place.'; fi
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

choose_ui() {
  # `curl ... | bash`: the script is the standard input, so people are asked at their terminal.
  if [ ! -t 0 ] && [ -z "$SOURCE" ] && { : </dev/tty; } 2>/dev/null; then exec {INPUT}</dev/tty; fi
  [ -z "$YES$PLAIN" ] && [ -t "$INPUT" ] && [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] || return 0
  if have dialog; then UI=dialog; elif have whiptail; then UI=whiptail; fi
}

main() {
  local name
  parse "$@"
  for name in ${SERVICES//,/ }; do
    [[ " $ALL_SERVICES " == *" $name "* ]] || die "$EXIT_USAGE" "--services: there is no service $name, only ${ALL_SERVICES// /, }"
  done
  for name in ${STEPS[@]+"${STEPS[@]}"}; do
    [[ ' modules signup activate team config services ' == *" $name "* ]] || die "$EXIT_USAGE" "there is no step $name; see --help"
  done
  [ -n "$CONFIG" ] || { absolute_path HOME "$(home)/triggerfs.toml" && CONFIG=$ANSWER; }
  choose_ui
  # Services run as other users and must be able to read the programs; the configuration is narrowed where it is written.
  umask 022
  WORK=$(mktemp -d) || die "$EXIT_FAILED" 'cannot make a temporary folder'
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [ ${#STEPS[@]} -gt 0 ]; then
    run_steps "${STEPS[@]}"
  elif [ -n "$YES" ]; then
    STEPS=(modules)
    [ -z "$EMAIL" ] || STEPS+=(signup)
    [ -z "$IDENTITY" ] || STEPS+=(activate)
    [ -z "$IDENTITY" ] || [ -z "$TEAM" ] || STEPS+=(team)
    STEPS+=(config)
    [ -z "$SERVICES" ] || STEPS+=(services)
    run_steps "${STEPS[@]}"
  else
    interact
  fi
}

# The last line, so that a script that arrives only in part does nothing.
main "$@"
