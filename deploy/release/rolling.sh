#!/usr/bin/env bash
# rolling.sh VERSION [more words for helm]: replace the pods one after the other (S5-46, S2-148).
# Each hub that goes drains its people to the others. Takes back by itself what does not get ready.
set -euo pipefail
# shellcheck source=deploy/release/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || fail "rolling.sh VERSION [--values FILE] …"
version=$1
shift

began=$SECONDS
helm upgrade --install dongne "$CHART" --namespace "$NAMESPACE" --set "$(image_of "$version")" \
  --atomic --wait --timeout "${WAIT_S}s" "$@"
say "rolled to $version in $((SECONDS - began)) s"
if [ -n "${PUBLIC_URL:-}" ] && ! smoke "$PUBLIC_URL"; then
  "$(dirname "$0")/rollback.sh"
  fail "$version does not do its work: rolled back"
fi
announce "dongne $version is deployed to $NAMESPACE"
