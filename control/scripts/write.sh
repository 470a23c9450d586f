# shellcheck shell=sh
# Writes a file for root alone from standard input, whole or not at all. $1: the file
set -eu
umask 077
mkdir -p "${1%/*}"
cat > "$1.part"
sync "$1.part"
mv -fT "$1.part" "$1"
