#!/usr/bin/env bash
# Every path and every `make` target that the documents name must exist: .ci/doc-paths.sh [FILE.md...]
# shellcheck disable=SC2016
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -eq 0 ]; then set -- README.md ARCHITECTURE.md CONTRIBUTING.md docs/*.md; fi
bad=0
complain() {
  printf '%s names %s, which does not exist\n' "$1" "$2" >&2
  bad=1
}

for document in "$@"; do
  if [ ! -f "$document" ]; then
    complain "the house" "$document"
    continue
  fi
  here=$(dirname "$document")

  # [text](path): relative to the document. An address or an anchor is not a path.
  while IFS= read -r path; do
    path=${path%%#*}
    case $path in '' | *://* | mailto:*) continue ;; esac
    [ -e "$here/$path" ] || complain "$document" "$path"
  done < <(grep -oE '\]\([^) ]+\)' "$document" | sed -E 's/^\]\(//; s/\)$//' | sort -u)

  # `path` in code: what begins with a folder of the repository, and configuration files. `path:item` names the file before
  # the colon; a pattern or a path with NAME in it is no path.
  while IFS= read -r path; do
    path=${path%%:*}
    case $path in *['*<{$']* | *NAME*) continue ;; esac
    [ -e "$path" ] || [ -e "$here/$path" ] || complain "$document" "$path"
  done < <(grep -oE '`(\.ci|crates|docs|examples|tests)/[^` ]+`|`[a-z-]+\.(toml|lock)`' "$document" | tr -d '`' | sort -u)

  while IFS= read -r target; do
    grep -qE "^$target:" Makefile || complain "$document" "make $target"
  done < <(grep -oE '`make [a-z]+' "$document" | sed 's/.* //' | sort -u)
done
exit "$bad"
