# shellcheck shell=sh
# Says how rivers is on this host, a fact a line.
set -u
lib=/usr/local/lib/rivers
sum() { sha256sum < "$1" 2>/dev/null | cut -d ' ' -f 1; }
say() { echo "$1=$2"; }
say binary "$(sum /usr/local/bin/rivers)"
say unit "$(sum /etc/systemd/system/rivers.service)"
say config "$(sum /etc/rivers/rivers.yml)"
say staged "$(sum $lib/next/binary)"
[ -d $lib/previous ] && say unverified yes
say active "$(systemctl is-active rivers.service 2>/dev/null)"
say enabled "$(systemctl is-enabled rivers.service 2>/dev/null)"
pid=$(systemctl show --property=MainPID --value rivers.service 2>/dev/null)
if [ "${pid:-0}" -gt 0 ]; then
    say running "$(sum "/proc/$pid/exe")"
fi
exit 0
