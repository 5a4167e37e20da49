#!/usr/bin/env bash
# A real pip against the gate: .ci/pip-install.sh GATE   (GATE: the built program)
#
# The example request is checked on the machine's own index, and served. pip then installs an approved package with its
# dependencies from the gate alone, and does not find one that was refused. Nothing that is installed is imported.
# Exits with 77 when it could not run: no python3, or an index that pip itself cannot reach.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. .ci/lib.sh

readonly REQUEST=examples/external-package-request.csv
# Must not be in REQUEST; small, pure, without dependencies.
readonly REFUSED_NAME=six REFUSED_VERSION=1.15.0

gate=${1:?name the gate program}
[ -x "$gate" ] || die "$gate is not a program; build it: cargo build --release -p gate"

server=
work=$(mktemp -d)
cleanup() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

command -v python3 >/dev/null || cannot_run "there is no python3"
python3 -m venv "$work/venv" >"$work/venv.log" 2>&1 || { cat "$work/venv.log"; cannot_run "python3 cannot make a virtual environment"; }
python="$work/venv/bin/python"

# The machine's own configuration, less what would answer in place of an index.
(cd "$work" && env -u PIP_FIND_LINKS -u PIP_NO_INDEX "$python" -m pip download --quiet --no-deps --only-binary :all: \
  --dest "$work/probe" "$REFUSED_NAME==$REFUSED_VERSION" </dev/null) ||
  cannot_run "pip itself reaches no Python index from here"

# pip as a user would run it who has nothing but the gate's address: no configuration, no variables, no proxies, no cache.
pip_from_gate() {
  local command=$1
  shift
  env -i "PATH=$PATH" "HOME=$work/home" PIP_CONFIG_FILE=/dev/null "$python" -m pip --isolated "$command" \
    --disable-pip-version-check --no-input --no-cache-dir --only-binary :all: --index-url "$url/simple/" "$@" </dev/null
}

# --- check -----------------------------------------------------------------------------------------------------------

status=0
"$gate" check "$REQUEST" --out "$work/out" --json >"$work/verdicts.json" </dev/null || status=$?
"$python" - "$work/verdicts.json" "$status" >"$work/approved" <<'PY'
import json, sys
document, status = json.load(open(sys.argv[1], encoding="utf-8")), int(sys.argv[2])
worst = {"approved": 0, "refused": 1, "held": 1, "failed": 2, "invalid": 2}
expected = max((worst[row["verdict"]] for row in document["rows"]), default=0)
if status != expected:
    sys.exit(f"error: the exit status is {status}, and the verdicts ask for {expected}")
for row in document["rows"]:
    print(f"{row['verdict']:9}{row['name']}: {row['reasons'][0]['message']}", file=sys.stderr)
    if row["verdict"] == "approved" and (row.get("coordinates") or "").startswith("pkg:pypi/"):
        wheels = [artifact["filename"] for artifact in row["artifacts"]]
        pure = any(name.endswith("-none-any.whl") for name in wheels)
        name, version = row["coordinates"].removeprefix("pkg:pypi/").split("@", 1)
        print(name, version, "pure" if pure else "native")
if status == 2:
    sys.exit("error: rows of the example failed or are invalid, and pip itself reaches the index")
PY

# A refusal that does not depend on anybody's rules: a made-up advisory against one version.
mkdir "$work/osv"
cat >"$work/osv/MADE-UP-1.json" <<JSON
{ "schema_version": "1.6.0", "id": "MADE-UP-1", "modified": "2024-01-01T00:00:00Z", "summary": "Made up for this check",
  "severity": [{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }],
  "affected": [{ "package": { "ecosystem": "PyPI", "name": "$REFUSED_NAME" }, "versions": ["$REFUSED_VERSION"] }] }
JSON
printf '%s,pkg:pypi/%s@%s\n' "$REFUSED_NAME" "$REFUSED_NAME" "$REFUSED_VERSION" >"$work/refused.csv"
status=0
"$gate" check "$work/refused.csv" --out "$work/out" --advisories "$work/osv" --json >"$work/refused.json" </dev/null || status=$?
if [ "$status" -ne 1 ] || ! grep -q MADE-UP-1 "$work/refused.json"; then
  cat "$work/refused.json"
  die "the advisory did not refuse $REFUSED_NAME (exit status $status)"
fi

# --- serve and install -----------------------------------------------------------------------------------------------

"$gate" serve --port 0 --out "$work/out" >"$work/serve.log" 2>&1 </dev/null &
server=$!
url=
for _ in $(seq 100); do
  url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$work/serve.log" | head -n 1 || true)
  [ -z "$url" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$url" ] || { cat "$work/serve.log"; die "gate serve printed no address"; }

# The first of these that was approved is installed by its name alone; its dependencies are pip's to find.
chosen=
for name in flask requests jinja2 $(awk '$3 == "pure" { print $1 }' "$work/approved"); do
  if awk -v name="$name" '$1 == name { found = 1 } END { exit !found }' "$work/approved"; then
    chosen=$name
    break
  fi
done
[ -n "$chosen" ] || die "the example has no approved package with a pure wheel"
pip_from_gate install "$chosen"

"$python" - "$work/approved" "$chosen" <<'PY'
import re, sys
from importlib.metadata import distributions
approved = [tuple(line.split()[:2]) for line in open(sys.argv[1], encoding="utf-8")]
normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
installed = {normal(d.metadata["Name"]): d.version for d in distributions()}
installed = {name: version for name, version in installed.items() if name not in ("pip", "setuptools")}
if sys.argv[2] not in installed:
    sys.exit(f"error: {sys.argv[2]} is not installed")
for name, version in sorted(installed.items()):
    if (name, version) not in approved:
        sys.exit(f"error: {name} {version} is installed and was not approved")
    print(f"installed {name} {version}, as approved")
PY
"$python" -m pip --isolated check

for wanted in "$REFUSED_NAME==$REFUSED_VERSION" gate-has-no-such-package; do
  if pip_from_gate download --no-deps --dest "$work/refused" "$wanted" >"$work/refused.log" 2>&1; then
    die "$wanted was not approved, and pip got it"
  fi
  grep -q "No matching distribution found for $wanted" "$work/refused.log" || { cat "$work/refused.log"; die "pip failed otherwise than by not finding $wanted"; }
  echo "absent    $wanted"
done
kill -0 "$server" || die "gate serve ended by itself"
