# shellcheck shell=sh
# Says what kube-proxy needs to know of this host, a fact a line.
set -u
echo "kernel=$(uname -r)"
if [ -d /sys/module/ip_vs ] || modprobe -n -q ip_vs 2>/dev/null; then echo ip_vs=yes; else echo ip_vs=no; fi
