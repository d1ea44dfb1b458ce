#!/usr/bin/env bash
# blue-green.sh VERSION [more words for helm]: install the colour that is not live, look at it, switch,
# keep the old one KEEP_S (S2-149, C49, C50). The release `dongne-front` holds services and ingress.
#   rollback while the old colour is kept: rollback.sh
set -euo pipefail
# shellcheck source=deploy/release/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || fail "blue-green.sh VERSION [--values FILE] …"
version=$1
shift

live=$(kubectl --namespace "$NAMESPACE" get service dongne-hub \
  --output 'jsonpath={.spec.selector.dongne/colour}' 2>/dev/null || true)
case $live in
  blue) next=green ;;
  green | '') next=blue ;;
  *) fail "the service sends to '$live', which is no colour" ;;
esac

began=$SECONDS
say "live: ${live:-none}; installing $next with $version"
# The half of the migrations that only the old version needed waits until that one is gone.
if ! helm upgrade --install "dongne-$next" "$CHART" --namespace "$NAMESPACE" \
  --set front.enabled=false --set "roles.colour=$next" --set migrations.after=false \
  --set "$(image_of "$version")" --wait --timeout "${WAIT_S}s" "$@"; then
  helm uninstall "dongne-$next" --namespace "$NAMESPACE" --wait || true
  fail "$next did not get ready; ${live:-nothing} stays live"
fi

helm upgrade --install dongne-front "$CHART" --namespace "$NAMESPACE" \
  --set roles.enabled=false --set "front.live=$next" --wait --timeout 60s "$@"
say "switched to $next after $((SECONDS - began)) s"
if [ -n "${PUBLIC_URL:-}" ] && ! smoke "$PUBLIC_URL"; then
  "$(dirname "$0")/rollback.sh"
  fail "$version does not do its work: switched back to ${live:-nothing}"
fi
announce "dongne $version is live as $next in $NAMESPACE"

say "keeping ${live:-nothing} for $KEEP_S s"
sleep "$KEEP_S"
now=$(kubectl --namespace "$NAMESPACE" get service dongne-hub \
  --output 'jsonpath={.spec.selector.dongne/colour}')
[ "$now" = "$next" ] || fail "rolled back meanwhile; nothing is removed"
if [ -n "$live" ]; then
  # Its hubs drain: their people come back to the new colour, DRAIN_RATE a second.
  helm uninstall "dongne-$live" --namespace "$NAMESPACE" --wait --timeout "${STOP_S}s"
fi
helm upgrade "dongne-$next" "$CHART" --namespace "$NAMESPACE" --reuse-values \
  --set migrations.after=true --wait --timeout "${WAIT_S}s"
say "$next is alone; ${live:-nothing} is gone"
