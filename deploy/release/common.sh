# Read by the scripts beside it: where they work, and what all of them say.
# shellcheck shell=bash

NAMESPACE=${NAMESPACE:-dongne}
CHART=${CHART:-$(dirname "${BASH_SOURCE[0]}")/../helm/dongne}
# C49: from the start of a rollout to the switch of traffic at most five minutes, so four for the pods.
WAIT_S=${WAIT_S:-240}
# How long the old colour stays after the switch: so long a rollback is a change of labels.
KEEP_S=${KEEP_S:-300}
# How long the old colour may then take to go: over SHUTDOWN_TIMEOUT.
STOP_S=${STOP_S:-120}

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

fail() {
  say "$*" >&2
  exit 1
}

# S2-150: one line to a chat or anywhere else; nothing without DEPLOY_WEBHOOK_URL. A message that does
# not arrive fails no deployment.
announce() {
  [ -n "${DEPLOY_WEBHOOK_URL:-}" ] || return 0
  local text=${1//[^a-zA-Z0-9 .,:_\/@-]/ }
  curl --silent --show-error --max-time 10 --header 'Content-Type: application/json' \
    --data "{\"text\": \"$text\"}" "$DEPLOY_WEBHOOK_URL" >/dev/null || say "the webhook did not answer"
}

# The tag or digest of an image, as the chart takes it.
image_of() {
  case $1 in
    sha256:*) printf 'image.digest=%s' "$1" ;;
    *) printf 'image.tag=%s' "$1" ;;
  esac
}

# smoke URL: what stands beside, unless SMOKE names another program.
smoke() { command "${SMOKE:-$(dirname "${BASH_SOURCE[0]}")/smoke.py}" "$1"; }
