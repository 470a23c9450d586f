# shellcheck shell=bash
# What images, packages and release have in common.

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

version() { sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"$/\1/p' Cargo.toml; }

description_of() { sed -n 's/^description = "\(.*\)"$/\1/p' "$1/Cargo.toml"; }

# What Rust calls this machine.
host() {
  command -v rustc >/dev/null || die "rustc is not on PATH: install Rust, or name it in PATH"
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
