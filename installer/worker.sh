# shellcheck shell=bash
# The worker of this machine and its token.

# The section of this machine's worker in SECTION. A header that lacks the quotes can only be meant for it, and gets them.
worker_section() {
  section_of workers "$TEAM" "$WORKER"
  SECTION=$ANSWER
  [ "$SECTION" = "workers.$TEAM.$WORKER" ] || toml_rename "workers.$TEAM.$WORKER" "$SECTION"
}

# The token of this machine's worker: from the configuration, from a file, or by making the worker. Its section in SECTION.
worker_token() {
  local token
  worker_section
  if [ -z "$TOKEN_FILE" ]; then
    toml_get "$SECTION" token && return
    prerequisites curl && need_api && need_identity && need_password || return
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
    changed
    say "Configuration: made the worker $WORKER in the team $TEAM."
    return
  fi
  first_line "$TOKEN_FILE"
}
