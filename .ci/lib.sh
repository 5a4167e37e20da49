# shellcheck shell=bash
# Shared by the scripts here. Sourced, never run.

# What a script exits with when it could not run, as opposed to having failed.
readonly CANNOT_RUN=77

cannot_run() {
  printf '\n!!!! COULD NOT RUN: %s\n\n' "$*" >&2
  exit "$CANNOT_RUN"
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Where cargo builds; also holds what CI installs for itself, so that one cache keeps both.
target_dir() {
  printf '%s\n' "${CARGO_TARGET_DIR:-$PWD/target}"
}

# need PROGRAM PACKAGE...: installs Debian packages where the program is missing and that is possible.
need() {
  local program=$1
  shift
  command -v "$program" >/dev/null && return 0
  apt_install "$@" && command -v "$program" >/dev/null
}

apt_install() {
  local sudo=()
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
    sudo=(sudo -n)
  fi
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
}
