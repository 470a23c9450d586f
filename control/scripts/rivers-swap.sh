# shellcheck shell=sh
# Puts the version to come in its place; what was verified last stays beside it until the new one is.
set -eu
umask 022
lib=/usr/local/lib/rivers
binary=/usr/local/bin/rivers unit=/etc/systemd/system/rivers.service config=/etc/rivers/rivers.yml
exec 9>$lib/lock
flock -w 30 9 || { echo "another update of rivers is under way" >&2; exit 1; }
if [ ! -d $lib/previous ]; then
    rm -rf $lib/previous.part
    mkdir $lib/previous.part
    # A link is the very file that runs, so that to go back to it starts nothing.
    [ ! -e $binary ] || ln $binary $lib/previous.part/binary 2>/dev/null || cp -p $binary $lib/previous.part/binary
    [ ! -e $unit ] || cp -p $unit $lib/previous.part/unit
    [ ! -e $config ] || cp -p $config $lib/previous.part/config
    mv -T $lib/previous.part $lib/previous
fi
put() {
    # The same once more would be another version to the rivers that runs.
    ! cmp -s "$lib/next/$1" "$2" || return 0
    mkdir -p "${2%/*}"
    cp -p "$lib/next/$1" "$2.part"
    sync "$2.part"
    mv -fT "$2.part" "$2"
}
put config $config
put unit $unit
put binary $binary
systemctl daemon-reload
systemctl --quiet enable rivers.service
if systemctl --quiet is-active rivers.service; then
    systemctl reload rivers.service
else
    systemctl reset-failed rivers.service 2>/dev/null || :
    timeout 40 systemctl start rivers.service || :
fi
