#!/usr/bin/env bash
# The project's template on an emulator of AWS, built and deployed as a user does it, and the end-to-end tests against it.
# Arguments go to pytest; without any, every test of tests/aws runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. .ci/lib.sh
. .ci/aws-tools.sh

[ "$(uname -s)" = Linux ] || cannot_run "the emulator runs the functions' Linux programs, and this is $(uname -s)"
aws_tools emulator sam lambda
[ -n "${AWS_BUILT:-}" ] || aws_build
cargo build --release --locked -p gate
cd tests/aws
exec "$AWS_TOOLS_PYTHON" -B -m pytest -p no:cacheprovider -q --ignore=local --ignore=template --durations=8 "$@"
