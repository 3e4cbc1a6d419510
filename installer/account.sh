# shellcheck shell=bash
# The account of a person: sign-up, activation, login.

need_identity() {
  if [ -z "$IDENTITY" ] && saved main identity; then IDENTITY=$ANSWER; fi
  need IDENTITY --identity 'Identity' '' || return
  is_name "$IDENTITY" || { fail "$IDENTITY is no identity: letters, digits, dots, dashes and underscores"; IDENTITY=''; return 1; }
}

# The password of an account that exists: from the file, from triggerfs.toml, or asked for.
need_password() {
  [ -z "$PASSWORD" ] || return 0
  if [ -n "$PASSWORD_FILE" ]; then
    first_line "$PASSWORD_FILE" || return
  elif saved main identity && [ "$ANSWER" = "$IDENTITY" ] && saved main secret; then
    :
  elif [ -n "$YES" ]; then
    fail 'the password is missing; give --password-file'
    return
  else
    ask_secret "Password of $IDENTITY" && [ -n "$ANSWER" ] || fail 'nothing was done without a password' || return
  fi
  PASSWORD=$ANSWER
}

# wrong_password MESSAGE: says so, and forgets the password, so that it is asked for again.
wrong_password() {
  PASSWORD=''
  fail "$1"
}

# Logs in without a team. Sets ANSWER: active, waiting (for its code) or unknown.
account_state() {
  object identity "$IDENTITY" secret "$PASSWORD" || return
  post /v1/login "$ANSWER" || return
  case $HTTP_STATUS in
    200) ANSWER=active ;;
    403) ANSWER=waiting ;;
    401) ANSWER=unknown ;;
    *) refused "cannot log in as $IDENTITY" ;;
  esac
}

new_password() {
  local first
  ask_secret 'New password (8 to 72 bytes)' && [ -n "$ANSWER" ] || fail 'nothing was done without a password' || return
  first=$ANSWER
  ask_secret 'Once more' || return
  [ "$ANSWER" = "$first" ] || fail 'the passwords differ; nothing was sent' || return
  PASSWORD=$first
}

step_signup() {
  need_api && reach_api && need_identity || return
  [[ $IDENTITY =~ ^.{3,32}$ ]] || { fail "the identity $IDENTITY has not 3 to 32 characters"; IDENTITY=''; return 1; }
  if [ -n "$YES" ] || [ -n "$PASSWORD_FILE" ]; then need_password || return; fi
  if [ -n "$PASSWORD" ]; then
    account_state || return
    case $ANSWER in
      active) say "Signup: $IDENTITY has an account already; nothing to do." && return ;;
      waiting) say "Signup: $IDENTITY has signed up already and waits for the activation code." && return ;;
    esac
  fi
  need EMAIL --email 'E-mail' '' || return
  [ -n "$PASSWORD" ] || new_password || return
  object identity "$IDENTITY" email "$EMAIL" password "$PASSWORD" || return
  post /v1/signup "$ANSWER" || return
  if [ "$HTTP_STATUS" != 202 ]; then
    refused 'Signup'
    PASSWORD=''
    [ -n "$YES" ] || IDENTITY='' EMAIL=''
    return 1
  fi
  changed
  say "Signup: $IDENTITY is signed up. $(where_code "$EMAIL")"
  [ -n "$YES" ] && return
  step_activate || return
  if ask_yes 'Create a team now?'; then step_team; fi
}

where_code() {
  if field activation && [ "$ANSWER" = mail ]; then
    printf 'The activation code was sent to %s.' "$1"
  else
    printf 'The activation code is in the log of the server, which sends no mail (triggerfs-server shows it in its terminal).'
  fi
}

step_activate() {
  local code
  need_api && reach_api && need_identity || return
  if [ -n "$PASSWORD" ] || [ -n "$YES" ] || [ -n "$PASSWORD_FILE" ]; then
    need_password && account_state || return
    case $ANSWER in
      active) say "Activate: the account $IDENTITY is active; nothing to do." && return ;;
      unknown) wrong_password "Activate: there is no account $IDENTITY with this password; sign up first" || return ;;
    esac
  fi
  if [ -z "$CODE" ] && [ -n "$YES" ]; then
    fail 'Activate: the activation code is needed. Run this again with --code CODE.'
    return "$EXIT_UNFINISHED"
  fi
  while :; do
    code=$CODE CODE=''
    if [ -z "$code" ]; then
      ask_text 'Activation code (r sends another one, empty is later)' '' || return
      code=$ANSWER
    fi
    case $code in
      '') fail 'Activate: the account waits for its code; choose Activate when you have it'; return "$EXIT_UNFINISHED" ;;
      r) resend_code || return; continue ;;
    esac
    object identity "$IDENTITY" code "$code" || return
    post /v1/activate "$ANSWER" || return
    [ "$HTTP_STATUS" != 204 ] || break
    refused 'Activate'
    [ "$HTTP_STATUS" = 401 ] && [ -z "$YES" ] && [ "$UI" = plain ] || return 1
  done
  changed
  say "Activate: the account $IDENTITY is active."
}

resend_code() {
  object identity "$IDENTITY"
  post /v1/signup/resend "$ANSWER" || return
  [ "$HTTP_STATUS" = 202 ] || refused 'Activate' || return
  say "Another code is sent, at most once a minute and three times. $(where_code 'your address')"
}
