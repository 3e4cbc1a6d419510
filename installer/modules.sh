# shellcheck shell=bash
# The modules: the package and what it depends on, in one folder.

# What --package names, or the checkout packed, as a file in PACKAGE.
find_package() {
  if [ -n "$PACKAGE" ]; then
    get_package || fail "$ANSWER"
    return
  fi
  cp "$ROOT/package.json" "$WORK/package.json" || return
  use_node || return
  if [ -f "$ROOT/tsconfig.json" ] && [ ! -d "$ROOT/node_modules/typescript" ]; then
    progress "Getting what triggerFS is built with, into $ROOT/node_modules ..."
    npm_run ci --ignore-scripts --prefix "$ROOT" || return
  fi
  progress 'Packing the checkout ...'
  mkdir -p "$WORK/pack" && npm_run pack "$ROOT" --pack-destination "$WORK/pack" || return
  PACKAGE=$(echo "$WORK"/pack/*.tgz)
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
  changed
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
