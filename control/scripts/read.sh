# shellcheck shell=sh
# Says whether others may read a file and when it was written, then what is in it; nothing when there is none. $1: the file
set -eu
[ -e "$1" ] || exit 0
[ -f "$1" ] || { echo "it is no file" >&2; exit 1; }
stat -L -c '%a %Y' -- "$1"
head -c 1048576 -- "$1"
