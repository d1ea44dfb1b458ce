#!/usr/bin/env bash
# restore-point.sh SNAPSHOT DATA [TIME]: lay a snapshot into the empty folder DATA, so that a server that
# starts there replays the archive to TIME ('2026-01-31 12:00:05+09'), or as far as it reaches, and then
# opens. DATA belongs to the server's user afterwards, where this runs as root and OWNER names it.
set -euo pipefail
umask 077
# shellcheck source=deploy/backup/store.sh
. "$(dirname "$0")/store.sh"
[ $# -ge 2 ] || { say "restore-point.sh SNAPSHOT DATA [TIME]" >&2; exit 2; }
snapshot=$1 data=$2 time=${3:-}

whole "$snapshot"
mkdir -p "$data"
[ -z "$(ls -A "$data")" ] || { say "$data is not empty: nothing was touched" >&2; exit 1; }
tar --extract --gzip --file "$snapshot/base.tar.gz" --directory "$data"
scripts=$(cd "$(dirname "$0")" && pwd)
{
  echo "restore_command = 'BACKUP_DIR=\"$BACKUP_DIR\" BACKUP_NAME=\"$BACKUP_NAME\" BACKUP_BUCKET=\"${BACKUP_BUCKET:-}\" \"$scripts/wal-restore.sh\" \"%f\" \"%p\"'"
  echo "archive_mode = off  # until somebody has looked at what came back"
  if [ -n "$time" ]; then
    echo "recovery_target_time = '$time'"
    echo "recovery_target_action = promote"
  fi
} >>"$data/postgresql.auto.conf"
touch "$data/recovery.signal"
chmod 700 "$data"
[ -z "${OWNER:-}" ] || chown -R "$OWNER" "$data"
say "start a server on $data"
