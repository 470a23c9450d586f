# shellcheck shell=sh
# Writes a file for root alone from standard input, whole or not at all, if it is still the one that was seen. $1: the
# file; $2: the SHA-256 of what was seen, `-` for nothing
set -eu
umask 077
folder=${1%/*}
mkdir -p "$folder"
exec 9<"$folder"
flock -w 20 9 || { echo "somebody else writes it" >&2; exit 1; }
now=-
[ ! -e "$1" ] || now=$(sha256sum < "$1" | cut -d ' ' -f 1)
[ "$now" = "$2" ] || { echo "somebody else has changed it meanwhile" >&2; exit 1; }
cat > "$1.part"
sync "$1.part"
mv -fT "$1.part" "$1"
