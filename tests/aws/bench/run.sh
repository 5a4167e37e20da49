#!/usr/bin/env bash
# The figures of the AWS half. Builds the functions as a user does (`sam build`, in release), each time into a folder of its own,
# so that the tests' quick build stays; BUILT=FOLDER measures what is there instead. Arguments go to `python -m bench`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. .ci/lib.sh
. .ci/aws-tools.sh

[ "$(uname -s)" = Linux ] || cannot_run "the functions are Linux programs, and this is $(uname -s)"
aws_tools emulator sam lambda
label="sam build, as it was found"
if [ -z "${BUILT:-}" ]; then
  label="sam build, release"
  BUILT="$(target_dir)/bench-aws"
  sam build --build-dir "$BUILT" --parameter-overrides "Architecture=$(aws_architecture)" </dev/null
fi
BUILT=$(realpath "$BUILT")
cargo build --release --locked -p gate
cd tests/aws
exec "$AWS_TOOLS_PYTHON" -B -m bench --built "$BUILT" --label "$label" ${ONLY:+--only "$ONLY"} "$@"
