# shellcheck shell=sh
# Has the version to come say whether it can run here with its configuration. That an upstream is away is no fault of its.
set -u
next=/usr/local/lib/rivers/next
timeout 30 $next/binary check --config $next/config >$next/said 2>&1 </dev/null
code=$?
if [ $code -gt 1 ]; then
    echo "\`rivers check\` ends with $code: $(tail -n 3 $next/said)" >&2
    exit 1
fi
