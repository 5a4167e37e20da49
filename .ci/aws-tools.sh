# shellcheck shell=bash
# The programs that the AWS half is built and tested with, at fixed versions. Sourced after lib.sh, never run.
#
#   aws_tools [emulator|sam|checkov|lambda|asl]...   installs what is missing (all without arguments); sets PATH
#   aws_build                                         every function, with `sam build`, in the fast profile, for this machine
#
# Each tool lies in its own virtual environment below target/ci-tools/aws, and target/ci-tools/aws/bin names the programs.
# Afterwards $AWS_TOOLS_PYTHON is a Python that has boto3, pytest and PyYAML. A tool that cannot be installed here ends the
# script with CANNOT_RUN, loudly.

readonly AWS_TOOLS_EMULATOR='ministack==1.5.33 aws-sam-translator==1.115.0 jsonata-python==0.7.1 cryptography==50.0.2
  boto3==1.43.106 cfn-lint==1.58.0 pytest==9.2.0 PyYAML==6.0.3'
readonly AWS_TOOLS_SAM='aws-sam-cli==1.170.0'
readonly AWS_TOOLS_CHECKOV='checkov==3.3.30'
readonly AWS_TOOLS_LAMBDA='cargo-lambda==1.9.2 ziglang==0.17.0'
readonly AWS_TOOLS_ASL='asl-validator@4.0.0'

aws_tools() {
  local tool dir
  dir="$(target_dir)/ci-tools/aws"
  mkdir -p "$dir/bin"
  [ $# -gt 0 ] || set -- emulator sam checkov lambda asl
  for tool in "$@"; do
    case $tool in
      emulator) aws_tools_venv "$dir" emulator "$AWS_TOOLS_EMULATOR" ministack cfn-lint pytest ;;
      sam) aws_tools_venv "$dir" sam "$AWS_TOOLS_SAM" sam ;;
      checkov) aws_tools_venv "$dir" checkov "$AWS_TOOLS_CHECKOV" checkov ;;
      lambda)
        aws_tools_venv "$dir" lambda "$AWS_TOOLS_LAMBDA" cargo-lambda
        # cargo-lambda looks for this name.
        printf '#!/bin/sh\nexec "%s/lambda/bin/python" -m ziglang "$@"\n' "$dir" >"$dir/bin/zig"
        chmod +x "$dir/bin/zig"
        ;;
      asl) aws_tools_npm "$dir" ;;
      *) die "aws_tools knows no $tool" ;;
    esac
  done
  export PATH="$dir/bin:$PATH" AWS_TOOLS_PYTHON="$dir/emulator/bin/python" SAM_CLI_TELEMETRY=0
}

# aws_tools_venv DIR NAME REQUIREMENTS PROGRAM...: installed once for each set of requirements.
aws_tools_venv() {
  local dir=$1 name=$2 requirements=$3 program
  shift 3
  if [ "$(cat "$dir/$name/requirements" 2>/dev/null)" != "$requirements" ]; then
    command -v python3 >/dev/null || cannot_run "there is no python3, which $name is installed with"
    printf 'installing %s\n' "$(printf '%s' "$requirements" | tr -s '\n ' ' ')" >&2
    rm -rf "${dir:?}/$name"
    python3 -m venv "$dir/$name" >"$dir/$name.log" 2>&1 || { cat "$dir/$name.log" >&2; cannot_run "python3 cannot make a virtual environment"; }
    # shellcheck disable=SC2086
    "$dir/$name/bin/python" -m pip install --quiet --disable-pip-version-check $requirements >"$dir/$name.log" 2>&1 </dev/null ||
      { tail -n 20 "$dir/$name.log" >&2; cannot_run "$name could not be installed: the Python index does not give $requirements"; }
    printf '%s' "$requirements" >"$dir/$name/requirements"
  fi
  for program in "$@"; do
    ln -sfn "$dir/$name/bin/$program" "$dir/bin/$program"
  done
}

aws_tools_npm() {
  local dir=$1
  if [ "$(cat "$dir/asl/requirements" 2>/dev/null)" != "$AWS_TOOLS_ASL" ]; then
    need npm nodejs npm || cannot_run "there is no npm, which $AWS_TOOLS_ASL is installed with"
    printf 'installing %s\n' "$AWS_TOOLS_ASL" >&2
    rm -rf "${dir:?}/asl"
    mkdir -p "$dir/asl"
    npm install --prefix "$dir/asl" --no-audit --no-fund --ignore-scripts --silent "$AWS_TOOLS_ASL" >"$dir/asl.log" 2>&1 </dev/null ||
      { tail -n 20 "$dir/asl.log" >&2; cannot_run "npm could not install $AWS_TOOLS_ASL"; }
    printf '%s' "$AWS_TOOLS_ASL" >"$dir/asl/requirements"
  fi
  ln -sfn "$dir/asl/node_modules/.bin/asl-validator" "$dir/bin/asl-validator"
}

# The template's architecture for this machine.
aws_architecture() {
  case $(uname -m) in
    aarch64 | arm64) echo arm64 ;;
    *) echo x86_64 ;;
  esac
}

# `sam build` as a user runs it, but in the profile lambda-fast: sam leaves --release away when SAM_BUILD_MODE is debug, and
# cargo-lambda takes the profile from its environment. Leaves .aws-sam/build/template.yaml, which `sam deploy` takes.
aws_build() {
  aws_tools sam lambda
  env SAM_BUILD_MODE=debug 'CARGO_LAMBDA_BUILD.PROFILE=lambda-fast' \
    sam build --parameter-overrides "Architecture=$(aws_architecture)" "$@" </dev/null
}
