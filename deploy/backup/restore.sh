#!/usr/bin/env bash
# restore.sh FOLDER: a full backup into DATABASE_URL, whose database must be empty (S5-47). What comes
# back is compared with what was written down when the backup was made.
set -euo pipefail
cd "$(dirname "$0")"
BACKUP_DIR=${BACKUP_DIR:-.}
# shellcheck source=deploy/backup/store.sh
. ./store.sh
[ $# -eq 1 ] || { say "restore.sh FOLDER" >&2; exit 2; }
folder=$1

whole "$folder"
use_database
tables=$(psql --no-psqlrc --quiet --tuples-only --no-align --command \
  "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
[ "$tables" = 0 ] || { say "the database is not empty: nothing was touched" >&2; exit 1; }
pg_restore --exit-on-error --no-owner --no-privileges --single-transaction \
  --dbname="$PGDATABASE" "$folder/database.dump"
psql --no-psqlrc --quiet --command ANALYZE
found=$(printf 'BEGIN;\n\\i manifest.sql\nCOMMIT;\n' |
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1)
if ! difference=$(diff "$folder/manifest" <(printf '%s\n' "$found")); then
  say "what came back is not what was there:" >&2
  printf '%s\n' "$difference" >&2
  exit 1
fi
say "$(wc -l <"$folder/manifest") tables and sequences came back as they were"
