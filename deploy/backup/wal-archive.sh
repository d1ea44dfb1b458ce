#!/usr/bin/env bash
# wal-archive.sh PATH NAME: PostgreSQL's archive_command. Exit 0 means that the file is safe, so that the
# server may let its own go.
#   archive_mode = on
#   archive_timeout = 900      # at most 15 minutes are lost (C41)
#   archive_command = 'BACKUP_DIR=/var/backups/dongne /opt/dongne/backup/wal-archive.sh "%p" "%f"'
set -euo pipefail
umask 077
# shellcheck source=deploy/backup/store.sh
. "$(dirname "$0")/store.sh"
[ $# -eq 2 ] || exit 2

folder=$BACKUP_DIR/backups/$BACKUP_NAME/wal
target=$folder/$2
mkdir -p "$folder"
if [ -e "$target" ]; then
  cmp --silent "$1" "$target" && exit 0  # the server asks again after a crash
  say "$2 is there already, and differs: two servers write to one archive" >&2
  exit 1
fi
cp "$1" "$target.$$"
sync "$target.$$"
mv "$target.$$" "$target"
sync "$folder"
if [ -n "${BACKUP_BUCKET:-}" ]; then
  aws s3 cp --only-show-errors "$target" "$BACKUP_BUCKET/backups/$BACKUP_NAME/wal/$2"
fi
succeeded wal
# As far back as the oldest snapshot that a point in time begins at: a day, and six hours between two.
find "$folder" -mindepth 1 -maxdepth 1 -mmin +$((30 * 60)) -delete
