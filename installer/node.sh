# shellcheck shell=bash
# Node.js and npm: those of the machine, or some of our own.

readonly NODE_MAJOR=22 NODE_MINOR=18
# Of our own, where the machine has none or an old one; the hashes are those of the packages of npm.
readonly NODE_VERSION=24.21.0 NPM_VERSION=11.19.1
readonly NODE_X64_SHA512=de750bb336795f47dc898a46d2de93add029273027f3e16520d3fa3a2317ed5f07aefa404cf37ddfa5352e545e389ae22d16b87bcc84a900580a72f23cd02ced
readonly NODE_ARM64_SHA512=1692513c4cf63afbd32df8c83a5346158f492cf30a825e66f9de2819804b836e242759a6bcdd5997f1cf2601781c3689e752127afd65d5c459fc333e91e5d6e6
readonly NPM_SHA512=cedb312b1b7f92421a02cfb68b4194e88f8346651dacd6acc5364a25ef5309d4a32b19616a1ff8aff865e7280c0fa5c0835a99f5cd93368991e2a80ec9da75d2

node_is_new() {
  local version major minor
  have node || return 1
  version=$(node --version 2>/dev/null) || return 1
  IFS=. read -r major minor _ <<<"${version#v}"
  [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] || return 1
  [ "$major" -gt "$NODE_MAJOR" ] || { [ "$major" = "$NODE_MAJOR" ] && [ "$minor" -ge "$NODE_MINOR" ]; }
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
    changed
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
