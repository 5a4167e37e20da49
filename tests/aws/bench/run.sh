#!/usr/bin/env bash
# The figures of the AWS half. Builds the functions as a user does (`sam build`, in release), each time into a folder of its own,
# so that the tests' quick build stays; BUILT=FOLDER measures what is there instead. ONLY=P6,P7 takes these figures; those of
# gate-bench, which `make bench` hands on as well, are passed over. Arguments go to `python -m bench`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. .ci/lib.sh
. .ci/aws-tools.sh

[ "$(uname -s)" = Linux ] || cannot_run "the functions are Linux programs, and this is $(uname -s)"
wanted=()
IFS=, read -ra asked <<<"${ONLY:-P4,P5,P5-member,P6,P7,manifest}"
for id in "${asked[@]}"; do
  case $id in
    P4 | P5 | P5-member | P6 | P7 | manifest) wanted+=("$id") ;;
    P1 | P2 | P3 | P8) ;;
    *) die "there is no figure $id" ;;
  esac
done
if [ ${#wanted[@]} -eq 0 ]; then
  echo "no figure of the AWS half was asked for"
  exit 0
fi

aws_tools emulator sam lambda
label="sam build, as it was found"
if [ -z "${BUILT:-}" ]; then
  label="sam build, release"
  BUILT="$(target_dir)/bench-aws"
  sam build --build-dir "$BUILT" --parameter-overrides "Architecture=$(aws_architecture)" </dev/null
fi
BUILT=$(realpath "$BUILT")
# P4 asks an external scanner, too. The SDK that this brings into the program is in no other figure.
case " ${wanted[*]} " in
  *' P4 '*)
    cargo build --release --locked -p gate --features external
    cp "$(target_dir)/release/gate" "$(target_dir)/bench-gate-external"
    ;;
esac
cargo build --release --locked -p gate
cd tests/aws
exec "$AWS_TOOLS_PYTHON" -B -m bench --built "$BUILT" --label "$label" --only "$(IFS=,; echo "${wanted[*]}")" "$@"
