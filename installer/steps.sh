# shellcheck shell=bash
# The steps, as a menu or a command line names them.

run_step() {
  case $1 in
    signup) prerequisites curl && step_signup ;;
    activate) prerequisites curl && step_activate ;;
    team) prerequisites curl && step_team ;;
    modules) step_modules ;;
    config) step_config ;;
    services) step_services ;;
  esac
}

# Without names of steps, those are done for which there are answers.
choose_steps() {
  STEPS=(modules)
  [ -z "$EMAIL" ] || STEPS+=(signup)
  [ -z "$IDENTITY" ] || STEPS+=(activate)
  [ -z "$IDENTITY" ] || [ -z "$TEAM" ] || STEPS+=(team)
  STEPS+=(config)
  [ -z "$SERVICES" ] || STEPS+=(services)
}

# All that was asked for by options, in order; the first failure ends it.
run_steps() {
  local step status
  [ ${#STEPS[@]} -gt 0 ] || choose_steps
  for step in "${STEPS[@]}"; do
    status=0
    run_step "$step" || status=$?
    if [ "$status" != 0 ]; then
      [ "$UI" = plain ] || printf '%s' "$REPORT" >&2
      [ "$status" = "$EXIT_UNFINISHED" ] || status=$EXIT_FAILED
      exit "$status"
    fi
  done
  [ "$UI" = plain ] || printf '%s' "$REPORT"
  if [ -z "$CHANGED" ]; then echo 'Nothing was changed: everything is in place.'; fi
}
