# shellcheck shell=bash
# The programs in that folder, and links to them on the search path.

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
    changed
  done
  case :$PATH: in *:"$BIN_DIR":*) ;; *) say "Note: $BIN_DIR is not in PATH." ;; esac
}
