#!/usr/bin/env bash
# rollback.sh [REVISION]: back to what was there before, in one command and two minutes (S4-29, S4-30).
# Blue/green: the services send to the colour that is kept. Rolling: helm's revision before, or the one
# given. The database is not taken back: the half of migrations that ran is one that the old version bears.
set -euo pipefail
# shellcheck source=deploy/release/common.sh
. "$(dirname "$0")/common.sh"

began=$SECONDS
live=$(kubectl --namespace "$NAMESPACE" get service dongne-hub \
  --output 'jsonpath={.spec.selector.dongne/colour}')
case $live in
  blue) kept=green ;;
  green) kept=blue ;;
  *) kept= ;;
esac

if [ -n "$kept" ]; then
  helm status "dongne-$kept" --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    fail "$kept is gone: release the old version again with blue-green.sh VERSION"
  helm upgrade dongne-front "$CHART" --namespace "$NAMESPACE" --reuse-values \
    --set "front.live=$kept" --wait --timeout 60s
  say "back to $kept in $((SECONDS - began)) s"
else
  helm rollback dongne ${1:+"$1"} --namespace "$NAMESPACE" --wait --timeout 110s
  say "rolled back in $((SECONDS - began)) s"
fi
announce "dongne in $NAMESPACE was rolled back"
