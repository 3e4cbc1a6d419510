# shellcheck shell=bash
# Words on the screen and questions: windows of dialog or whiptail, or plain prompts.

# REPORT: what a step said, for a window at its end.
UI=plain REPORT=''

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

# Runs dialog or whiptail; what was typed is in ANSWER. Returns 1 for Cancel and Escape.
widget() {
  ANSWER=$("$UI" --title 'triggerFS' "$@" 3>&1 1>&2 2>&3)
}

read_line() {
  IFS= read -r "$@" ANSWER || [ -n "$ANSWER" ] || die "$EXIT_USAGE" 'the input has ended before all was answered'
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

choose_ui() {
  [ -z "$YES$PLAIN" ] && [ -t 0 ] && [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] || return 0
  if have dialog; then UI=dialog; elif have whiptail; then UI=whiptail; fi
}
