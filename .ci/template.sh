#!/usr/bin/env bash
# The template and the state machines, before anything is deployed: cfn-lint, sam validate, checkov, asl-validator, and the
# rules of tests/aws/template that no tool has. Exits with 77 when a tool cannot be installed here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. .ci/lib.sh
. .ci/aws-tools.sh

aws_tools emulator sam checkov asl

status=0
# check NAME COMMAND...
check() {
  printf -- '-- %s\n' "$1"
  shift
  "$@" </dev/null || { printf 'error: %s\n' "$*" >&2; status=1; }
}

# Nobody is asked: no account is behind these.
export AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_EC2_METADATA_DISABLED=true

check 'cfn-lint' cfn-lint template.yaml
check 'sam validate' sam validate --lint
# Checkov reads the SAM form; the three rules that are waived stand in the template with their reasons.
check 'checkov' checkov -f template.yaml --framework cloudformation --skip-download --compact --quiet
# A number without quotes is put in by CloudFormation before the file is JSON; the validator gets any number in its place.
machines=$(mktemp -d)
trap 'rm -rf "$machines"' EXIT
for machine in statemachine/*.asl.json; do
  # shellcheck disable=SC2016
  sed -E 's/: \$\{[A-Za-z]+\}/: 1/' "$machine" >"$machines/${machine##*/}"
  check "asl-validator $machine" asl-validator --json-path "$machines/${machine##*/}"
done
check 'own rules' "$AWS_TOOLS_PYTHON" -B -m pytest --quiet -p no:cacheprovider --rootdir tests/aws/template \
  --confcutdir tests/aws/template tests/aws/template
exit "$status"
