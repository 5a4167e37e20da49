#!/usr/bin/env bash
# `sam local invoke` of every function with its events: tests/aws/local/invoke.sh [NAME]...   (NAME: fetcher, request-reader, ...)
#
# Builds the functions with `sam build` unless AWS_BUILT says that this has been done. Exits with 77 when it could not run: no
# Docker daemon, no image, or no tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. .ci/lib.sh
. .ci/aws-tools.sh
. tests/aws/local/docker.sh

[ "$(uname -s)" = Linux ] || cannot_run "the containers reach the emulator over the Docker bridge of Linux, and this is $(uname -s)"
aws_tools emulator sam lambda
trap docker_down EXIT
docker_up
status=0
image=$(tests/aws/local/image.sh) || status=$?
[ "$status" -eq 0 ] || exit "$status"
[ -n "${AWS_BUILT:-}" ] || aws_build
status=0
"$AWS_TOOLS_PYTHON" -B tests/aws/local/invoke.py "$image" "$@" || status=$?
exit "$status"
