# shellcheck shell=bash
# Requests to the control-plane.

HTTP_STATUS='' HTTP_BODY=''

# object KEY VALUE ...: a JSON object of texts.
object() {
  local json=''
  while [ $# -gt 0 ]; do
    quoted "$2" || return
    json+="${json:+,}\"$1\":$ANSWER"
    shift 2
  done
  ANSWER="{$json}"
}

# A text of the last answer; the first one of that name.
field() {
  local pattern="\"$1\":\"(([^\"\\\\]|\\\\.)*)\""
  ANSWER=''
  [[ $HTTP_BODY =~ $pattern ]] || return 1
  ANSWER=${BASH_REMATCH[1]//\\\"/\"}
}

# post PATH BODY [TOKEN]: calls the API. Body and token go through pipes.
post() {
  local answer
  if ! answer=$(curl -q --silent --show-error --max-time 30 --request POST --header 'content-type: application/json' \
    --header @/dev/fd/3 --data-binary @- --write-out '\n%{http_code}' "$API$1" 2>&1 \
    3< <([ -z "${3-}" ] || printf 'authorization: Bearer %s\n' "$3") < <(printf '%s' "$2")); then
    unreachable "${answer%%$'\n'*}"
    return
  fi
  HTTP_STATUS=${answer##*$'\n'}
  HTTP_BODY=${answer%$'\n'*}
}

# Before much is asked for, see that there is somebody to send it to.
reach_api() {
  local said
  [ -z "$YES" ] || return 0
  said=$(curl -q --silent --show-error --max-time 30 --output /dev/null "$API/healthz" 2>&1) || unreachable "$said"
}

# The address may be a wrong one, so people are asked for it again the next time.
unreachable() {
  fail "$API does not answer: $1. Check the address, and that the server runs."
  [ -n "$YES" ] || API=''
  return 1
}

# What the server says of a refused request.
refused() {
  local detail
  if field detail; then detail=$ANSWER; else detail="the answer $HTTP_STATUS of $API"; fi
  if [ "$HTTP_STATUS" = 429 ]; then detail+=' (wait a minute, then try again)'; fi
  fail "$1: $detail"
}

need_api() {
  if [ -z "$API" ] && saved main api; then API=$ANSWER; fi
  need API --api 'Address of the control-plane' 'http://127.0.0.1:8642' || return
  API=${API%/}
  [[ $API =~ ^https?://[^[:space:]\"]+$ ]] || { fail "$API is no address such as https://triggerfs.example.com"; API=''; return 1; }
  stays_private "$API" || say "Note: $API is not https: whoever is in between can read the password."
}
