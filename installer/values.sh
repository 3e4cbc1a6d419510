# shellcheck shell=bash
# What people give: names, texts, first lines of files.

is_name() {
  [[ $1 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$ ]]
}

first_line() {
  [ -r "$1" ] && [ ! -d "$1" ] || fail "cannot read $1" || return
  ANSWER=''
  IFS= read -r ANSWER <"$1" || [ -n "$ANSWER" ] || fail "$1 is empty"
}

# A text in quotes, as JSON and TOML both write it.
quoted() {
  local text=$1
  [[ $text != *[[:cntrl:]]* ]] || fail 'control characters are not possible here' || return
  text=${text//\\/\\\\}
  ANSWER="\"${text//\"/\\\"}\""
}
