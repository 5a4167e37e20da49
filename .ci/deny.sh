#!/usr/bin/env bash
# cargo-deny over Cargo.lock: .ci/deny.sh CHECK...  (licenses, bans, sources, advisories)
# Exits with 77 when it could not run: cargo-deny cannot be had, or the advisory database cannot be reached.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. .ci/lib.sh

readonly VERSION=0.20.2

[ $# -gt 0 ] || die "name the checks: licenses bans sources advisories"

deny=$(command -v cargo-deny || true)
if [ -z "$deny" ] || [ "$("$deny" --version)" != "cargo-deny $VERSION" ]; then
  root="$(target_dir)/ci-tools"
  deny="$root/bin/cargo-deny"
  if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $VERSION" ]; then
    # --debug: building takes minutes, running takes seconds.
    env -u CARGO_TARGET_DIR cargo install cargo-deny --version "=$VERSION" --locked --debug --force --root "$root" ||
      cannot_run "cargo-deny $VERSION could not be installed, so the dependencies were not judged"
  fi
fi

checks=()
advisories=false
for check in "$@"; do
  case $check in
    advisories) advisories=true ;;
    *) checks+=("$check") ;;
  esac
done

[ "${#checks[@]}" -eq 0 ] || "$deny" --locked check --hide-inclusion-graph "${checks[@]}"
if $advisories; then
  # Fetched apart from the check, so that "could not be reached" and "something was found" stay two answers.
  "$deny" --locked fetch db ||
    cannot_run "the RustSec advisory database could not be fetched: KNOWN VULNERABILITIES OF DEPENDENCIES WERE NOT LOOKED FOR"
  "$deny" --locked check --disable-fetch advisories
fi
