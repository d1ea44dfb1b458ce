# Read by the scripts beside it: where backups are, how they are sealed, copied and let go.
# shellcheck shell=bash

: "${BACKUP_DIR:?where backups are kept}"
BACKUP_NAME=${BACKUP_NAME:-dongne}

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

# The parts of a URL as libpq's own variables: a command line is open to every user of the machine.
use_database() {
  local rest=${DATABASE_URL#*://} who where
  who=${rest%@*} where=${rest##*@}
  PGUSER=$(decoded "${who%%:*}") PGPASSWORD=$(decoded "${who#*:}")
  PGHOST=${where%%[:/]*} PGPORT=5432 PGDATABASE=${where#*/}
  case ${where%%/*} in *:*) PGPORT=${where#*:} PGPORT=${PGPORT%%/*} ;; esac
  PGDATABASE=$(decoded "${PGDATABASE%%\?*}")
  case $where in *sslmode=*) PGSSLMODE=${where#*sslmode=} && export PGSSLMODE="${PGSSLMODE%%&*}" ;; esac
  export PGUSER PGPASSWORD PGHOST PGPORT PGDATABASE
}

use_redis() {
  local rest=${REDIS_URL#*://} where
  case $rest in *@*) REDISCLI_AUTH=$(decoded "${rest%@*}") && export REDISCLI_AUTH="${REDISCLI_AUTH#*:}" ;; esac
  where=${rest##*@}
  where=${where%%/*}
  REDIS_WHERE=(-h "${where%%:*}" -p "${where##*:}")
  case $REDIS_URL in rediss://*) REDIS_WHERE+=(--tls) ;; esac
}

decoded() { printf '%b' "${1//%/\\x}"; }

# How many days each is kept (S2-102).
days_of() {
  case $1 in
    full) echo 30 ;;
    snapshot | redis) echo 7 ;;
    wal) echo 1 ;;
  esac
}

seal() { (cd "$1" && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS); }

# Nothing is restored that is not what was written.
whole() { (cd "$1" && sha256sum --check --quiet SHA256SUMS); }

copy_out() {
  [ -n "${BACKUP_BUCKET:-}" ] || return 0
  aws s3 cp --recursive --only-show-errors "$1" "$BACKUP_BUCKET/${1#"$BACKUP_DIR/"}"
}

# Older ones than their days, but never the newest: a backup that has failed for weeks must not take the
# last good one along. What lies in the bucket is let go by its own rules (deploy/terraform).
prune() {
  local folder=$BACKUP_DIR/backups/$BACKUP_NAME/$1 newest
  newest=$(find "$folder" -mindepth 1 -maxdepth 1 ! -name '*.part' | sort | tail -n 1)
  find "$folder" -mindepth 1 -maxdepth 1 -mtime "+$(days_of "$1")" ! -path "$newest" -exec rm -rf {} +
}

# For Prometheus's textfile collector; the alert DongneBackupOld reads it.
succeeded() {
  [ -n "${BACKUP_METRICS:-}" ] || return 0
  local name=dongne_backup_success_timestamp_seconds new=$BACKUP_METRICS.new
  { grep -v "kind=\"$1\"" "$BACKUP_METRICS" 2>/dev/null || echo "# TYPE $name gauge"; } >"$new"
  echo "$name{kind=\"$1\"} $(date +%s)" >>"$new"
  chmod 644 "$new"
  mv "$new" "$BACKUP_METRICS"
}

newest() { find "$BACKUP_DIR/backups/$BACKUP_NAME/$1" -mindepth 1 -maxdepth 1 ! -name '*.part' | sort | tail -n 1; }
