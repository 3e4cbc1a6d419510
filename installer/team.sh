# shellcheck shell=bash
# The team that a person makes.

step_team() {
  local token
  need_api && reach_api && need_identity && need_password || return
  need TEAM --team 'Name of the team' '' || return
  is_name "$TEAM" || { fail "$TEAM is no name of a team: letters, digits, dots, dashes and underscores"; TEAM=''; return 1; }
  account_state || return
  case $ANSWER in
    waiting) fail "Create team: the account $IDENTITY waits for its activation code" && return ;;
    unknown) wrong_password "Create team: identity or password of $IDENTITY is wrong" || return ;;
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
  changed
  say "Create team: $IDENTITY owns the team $TEAM."
}
