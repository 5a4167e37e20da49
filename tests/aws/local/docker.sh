# shellcheck shell=bash
# A Docker daemon for `sam local invoke`. Sourced after .ci/lib.sh, never run.

dockerd_pid=

# docker_up: uses the daemon that runs, or starts one where that is possible; ends the script with CANNOT_RUN otherwise.
docker_up() {
  command -v docker >/dev/null || need docker docker.io || cannot_run "there is no docker, and it could not be installed: NO FUNCTION RAN IN A CONTAINER"
  docker info >/dev/null 2>&1 && return 0
  # A client may be here without its daemon.
  [ "$(id -u)" -eq 0 ] && need dockerd docker.io ||
    cannot_run "no Docker daemon answers, and only root can start one: NO FUNCTION RAN IN A CONTAINER"
  local log
  log="$(target_dir)/ci-tools/aws/dockerd.log"
  mkdir -p "${log%/*}"
  # vfs is slow and works everywhere, also inside a container.
  dockerd --storage-driver=vfs >"$log" 2>&1 </dev/null &
  dockerd_pid=$!
  for _ in $(seq 150); do
    docker info >/dev/null 2>&1 && return 0
    kill -0 "$dockerd_pid" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$log" >&2
  docker_down
  cannot_run "a Docker daemon cannot be started here: NO FUNCTION RAN IN A CONTAINER"
}

# docker_down: ends the daemon that docker_up has started.
docker_down() {
  [ -n "$dockerd_pid" ] || return 0
  kill "$dockerd_pid" 2>/dev/null || true
  wait "$dockerd_pid" 2>/dev/null || true
  dockerd_pid=
}
