# shellcheck shell=sh
# Keeps a file of a version to come, if all of it has arrived. $1: binary, unit or config; $2: its SHA-256; $3: its mode
set -eu
umask 022
next=/usr/local/lib/rivers/next
mkdir -p $next
cat > "$next/$1.part"
[ "$(sha256sum < "$next/$1.part" | cut -d ' ' -f 1)" = "$2" ] || { echo "it has not arrived whole" >&2; exit 1; }
chmod "$3" "$next/$1.part"
sync "$next/$1.part"
mv -fT "$next/$1.part" "$next/$1"
