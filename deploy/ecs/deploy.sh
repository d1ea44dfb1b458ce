#!/usr/bin/env bash
# deploy.sh: every role anew by its newest task definition (S3-08), in the order api, worker, hub, and wait
# until each is stable. `deploy.sh back` takes each to the definition before (S4-30).
set -euo pipefail
name=${NAME:-dongne} cluster=${CLUSTER:-dongne}

before() {
  aws ecs list-task-definitions --family-prefix "$1" --sort DESC --max-items 2 \
    --query 'taskDefinitionArns[1]' --output text
}

for role in api worker hub; do
  service=$name-$role
  words=(--cluster "$cluster" --service "$service" --force-new-deployment)
  if [ "${1:-}" = back ]; then
    words+=(--task-definition "$(before "$service")")
  else
    words+=(--task-definition "$service")
  fi
  aws ecs update-service "${words[@]}" --query service.status --output text
  aws ecs wait services-stable --cluster "$cluster" --services "$service"
done
