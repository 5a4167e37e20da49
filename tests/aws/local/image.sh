#!/usr/bin/env bash
# The image that `sam local invoke` runs the functions in. Needs a Docker daemon. Prints the image's name.
#
# That is Amazon's own for provided.al2023. Where it cannot be pulled, a stand-in of four Debian packages is built and said to be
# one: it proves what the functions take from the Lambda runtime (the bootstrap, the event, the environment, an image without
# a shell's comforts), but Debian's C library is not Amazon Linux's.
# Exits with 77 when neither can be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. .ci/lib.sh

readonly PACKAGES=(libc6 libgcc-s1 busybox-static ca-certificates)
readonly APPLETS=(sh mv cp rm chmod ls cat env mkdir)
readonly PULL_SECONDS=300

case $(uname -m) in
  aarch64 | arm64) architecture=arm64 ;;
  *) architecture=x86_64 ;;
esac
readonly IMAGE="public.ecr.aws/lambda/provided:al2023-$architecture"
readonly STAND_IN="package-gate-stand-in:al2023-$architecture"

have() { docker image inspect "$1" >/dev/null 2>&1; }

if have "$IMAGE" || timeout "$PULL_SECONDS" docker pull "$IMAGE" >&2; then
  printf '%s\n' "$IMAGE"
  exit
fi
printf '!!!! %s cannot be pulled: the functions run in a stand-in of Debian packages\n' "$IMAGE" >&2
if have "$STAND_IN"; then
  printf '%s\n' "$STAND_IN"
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || cannot_run "there is no apt-get to build a stand-in of $IMAGE from"

mkdir "$work/packages" "$work/root"
chmod 755 "$work"
download() { (cd "$work/packages" && apt-get download -qq "${PACKAGES[@]}" >"$work/log" 2>&1 </dev/null); }
# Without package lists the first try fails; apt_install refreshes them.
download || { apt_install ca-certificates >/dev/null 2>&1 && download; } ||
  { cat "$work/log" >&2; cannot_run "the Debian packages of the stand-in could not be downloaded"; }
for package in "$work"/packages/*.deb; do
  dpkg-deb -x "$package" "$work/root"
done
busybox=$(cd "$work/root" && find . -type f -path '*bin/busybox' | head -n 1)
[ -n "$busybox" ] || die "busybox-static holds no busybox"
mkdir -p "$work/root/bin" "$work/root/tmp" "$work/root/var/task" "$work/root/var/runtime" "$work/root/opt" "$work/root/etc/ssl/certs"
chmod 1777 "$work/root/tmp"
# Newer releases of Debian have these in /usr alone, and the links in a package that is not needed otherwise.
for folder in lib lib64; do
  [ -e "$work/root/$folder" ] || [ ! -e "$work/root/usr/$folder" ] || ln -s "usr/$folder" "$work/root/$folder"
done
for applet in "${APPLETS[@]}"; do
  ln -sf "${busybox#.}" "$work/root/bin/$applet"
done
find "$work/root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$work/root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/tmp:/bin/sh\n' >"$work/root/etc/passwd"
rm -rf "$work/root/usr/share/doc" "$work/root/usr/share/man" "$work/root/usr/share/lintian"

cat >"$work/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY root/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=en_US.UTF-8 TZ=:UTC LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime
WORKDIR /var/task
DOCKERFILE
# sam builds an image of its own on this one, under this name: one of an older stand-in must not stay.
docker image rm --force "${STAND_IN%%:*}:rapid-$architecture" >/dev/null 2>&1 || true
DOCKER_BUILDKIT=0 docker build --no-cache --quiet --tag "$STAND_IN" "$work" >&2 || cannot_run "the stand-in could not be built"
printf '%s\n' "$STAND_IN"
