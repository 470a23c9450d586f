# shellcheck shell=bash
# What images, packages and release have in common.

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

# What the head of a script says, for who asks. All are in this folder, and work in the one above.
usage() {
  sed -n '2,/^set /s/^# \{0,1\}//p' "deploy/${0##*/}"
  exit 0
}

# Before minutes of building: the tools that are needed, each with what brings it.
need() {
  local tool
  for tool in "$@"; do
    command -v "${tool%%=*}" >/dev/null || die "${tool%%=*} is not on PATH: install ${tool#*=}"
  done
}

# Before them, too: a folder that can be written.
make_output() { mkdir -p "$1" 2>/dev/null && [[ -w $1 ]] || die "$1 is no folder that can be written: give another --output"; }

version() { sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"$/\1/p' Cargo.toml; }

description_of() { sed -n 's/^description = "\(.*\)"$/\1/p' "$1/Cargo.toml"; }

# What Rust calls this machine.
host() {
  rustc -vV | sed -n 's/^host: //p'
}

# What Debian and images call the processor of a target.
architecture_of() {
  case $1 in
  x86_64-unknown-linux-gnu) echo amd64 ;;
  aarch64-unknown-linux-gnu) echo arm64 ;;
  *) die "$1 is not supported: x86_64-unknown-linux-gnu and aarch64-unknown-linux-gnu are" ;;
  esac
}

# The time of all files, for whatever makes some: that of the last commit, unless it is set.
fix_time() {
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
  export SOURCE_DATE_EPOCH
}
