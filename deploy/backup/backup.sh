#!/usr/bin/env bash
# backup.sh full|snapshot|redis|all: one backup, kept as backups/NAME/KIND/TIMESTAMP (S2-099 … S2-102).
#   full      pg_dump, custom format, daily: restores into any later version, also a part (30 days)
#   snapshot  pg_basebackup, every 6 hours: what WAL is replayed onto (7 days)
#   redis     an RDB of REDIS_URL (7 days)
# The transaction log goes by wal-archive.sh, from the server itself. Where the database is a managed one,
# its own snapshots take the place of the last two (deploy/terraform).
#
# DATABASE_URL (a real session, not a pooler), REDIS_URL, BACKUP_DIR, BACKUP_NAME; BACKUP_BUCKET=s3://…
# copies each there, and BACKUP_METRICS=….prom tells Prometheus when it last went well.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
# shellcheck source=deploy/backup/store.sh
. ./store.sh

# A dump, and in the same snapshot of the database what it must come back as: rows and their sums.
full() {
  local folder=$1
  use_database
  DUMP=$folder/database.dump psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 >/dev/null <<SQL || return 1
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
\! pg_dump --format=custom --compress=9 --no-owner --snapshot="\$SNAPSHOT" --file="\$DUMP"
\o $folder/manifest
\i manifest.sql
\o
COMMIT;
SQL
  pg_restore --list "$folder/database.dump" >/dev/null && [ -s "$folder/manifest" ]
}

snapshot() {
  use_database
  pg_basebackup --pgdata="$1" --format=tar --gzip --wal-method=fetch \
    --checkpoint=fast --no-password
}

redis() {
  use_redis
  # The server's own file is short again (S5-48); one that keeps none says so, and is saved all the same.
  redis-cli "${REDIS_WHERE[@]}" BGREWRITEAOF >/dev/null || true
  redis-cli "${REDIS_WHERE[@]}" --rdb "$1/redis.rdb" >/dev/null
}

one() {
  local kind=$1 folder
  folder=$BACKUP_DIR/backups/$BACKUP_NAME/$kind/$(date -u +%Y%m%dT%H%M%SZ)
  mkdir -p "$folder.part"
  # Made beside and renamed: what has its name is a whole one.
  if "$kind" "$folder.part" && seal "$folder.part" && mv "$folder.part" "$folder" && copy_out "$folder"; then
    succeeded "$kind"
    say "$kind: $folder, $(du -sk "$folder" | cut -f1) KiB"
    prune "$kind"
  else
    rm -rf "$folder.part"
    say "$kind: failed" >&2
    return 1
  fi
}

case ${1:-} in
  full | snapshot | redis) one "$1" ;;
  all) # one that fails stops none of the others (S2-099)
    failed=0
    for kind in full snapshot redis; do (one "$kind") || failed=1; done
    exit "$failed"
    ;;
  *)
    say "backup.sh full|snapshot|redis|all: '${1:-}' is none of them" >&2
    exit 2
    ;;
esac
