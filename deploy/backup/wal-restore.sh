#!/usr/bin/env bash
# wal-restore.sh NAME PATH: PostgreSQL's restore_command, the other way round.
set -euo pipefail
# shellcheck source=deploy/backup/store.sh
. "$(dirname "$0")/store.sh"
[ $# -eq 2 ] || exit 2
source=$BACKUP_DIR/backups/$BACKUP_NAME/wal/$1
if [ -e "$source" ]; then
  cp "$source" "$2"
elif [ -n "${BACKUP_BUCKET:-}" ]; then
  aws s3 cp --only-show-errors "$BACKUP_BUCKET/backups/$BACKUP_NAME/wal/$1" "$2"
else
  exit 1  # the end of the archive, as far as the server is concerned
fi
