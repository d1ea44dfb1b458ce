#!/usr/bin/env bash
# restart.sh [--forced]: start every pod anew (S5-46). Rolling by default, so nobody is refused; forced
# for a fault that cannot wait: all hubs of this namespace at once, their people come back as they can.
set -euo pipefail
# shellcheck source=deploy/release/common.sh
. "$(dirname "$0")/common.sh"
pods=(--namespace "$NAMESPACE" --selector app.kubernetes.io/name=dongne)
if [ "${1:-}" = --forced ]; then
  kubectl delete pod "${pods[@]}" --grace-period=5
fi
[ "${1:-}" = --forced ] || kubectl rollout restart deployment "${pods[@]}"
kubectl rollout status deployment "${pods[@]}" --timeout "${WAIT_S}s"
