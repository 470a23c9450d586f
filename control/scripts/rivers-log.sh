# shellcheck shell=sh
# What rivers said last.
journalctl _SYSTEMD_UNIT=rivers.service --lines=3 --output=cat --no-pager 2>/dev/null || :
