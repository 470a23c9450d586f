# shellcheck shell=sh
# Runs a command of the operator's that restarts who reads a file, once that file is some seconds old: who begins in the
# same second could not be told from who began before. $1: the file; the rest: the command
set -eu
age=$(($(date +%s) - $(stat -L -c %Y -- "$1")))
[ "$age" -ge 0 ] || { echo "the clock of this host is behind the time at which $1 was written" >&2; exit 1; }
[ "$age" -ge 3 ] || sleep $((3 - age))
shift
exec "$@" </dev/null
