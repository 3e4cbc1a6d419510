# shellcheck shell=bash
# The menu.

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
    menu || :
    case $ANSWER in
      1) run_step signup || : ;;
      2) run_step activate || : ;;
      3) run_step team || : ;;
      4) run_step modules || : ;;
      5) run_step config || : ;;
      6)
        run_step services || :
        # shellcheck disable=SC2034 # Others may be chosen the next time.
        SERVICES=''
        ;;
      7 | q | Q) return 0 ;;
      *) say "Choose one of 1 to 7." ;;
    esac
    if [ "$UI" != plain ] && [ -n "$REPORT" ]; then widget --msgbox "$REPORT" 0 0 || :; fi
    REPORT=''
  done
}
