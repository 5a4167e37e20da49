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
# For the table's cases with an external scanner. Built as `cargo test --workspace` builds, whose SDK it shares; by itself the SDK
# takes minutes in any profile.
case "${*:-test_parity}" in
  *test_parity*)
    if [ -z "${GATE_EXTERNAL:-}" ]; then
      cargo test --locked --workspace --features gate/external --test stories -- external
      cp "$(target_dir)/debug/gate" "$(target_dir)/gate-external"
      GATE_EXTERNAL=$(realpath "$(target_dir)/gate-external")
    fi
    export GATE_EXTERNAL
    ;;
esac
cd tests/aws
exec "$AWS_TOOLS_PYTHON" -B -m pytest -p no:cacheprovider -q --ignore=local --ignore=template --durations=8 "$@"
