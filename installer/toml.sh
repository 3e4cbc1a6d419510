# shellcheck shell=bash
# triggerfs.toml: read, completed and written line by line, so that all that people wrote stays.

TOML=() TOML_CHANGED=''

read_toml() {
  TOML=()
  TOML_CHANGED=''
  [ -e "$CONFIG" ] || return 1
  mapfile -t TOML <"$CONFIG"
}

new_toml() {
  mapfile -t TOML <"$ROOT/installer/skeleton.toml"
  TOML_CHANGED=''
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

# toml_rename OLD NEW: writes another section into the header lines that spell the old one just so.
toml_rename() {
  local i
  for i in "${!TOML[@]}"; do
    [[ ${TOML[i]} =~ ^[[:space:]]*\["$1"\] ]] || continue
    TOML[i]="[$2]"
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

# Writes beside the file and renames, so that a full disk or a power cut leaves the old one.
write_toml() {
  local folder owner='' file=$CONFIG
  if [ -z "$TOML_CHANGED" ]; then
    [ "$(stat -c %a "$CONFIG")" != 600 ] || return 0
    chmod 600 "$CONFIG" && changed
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
  changed
}
