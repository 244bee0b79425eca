# Sourced by the scripts beside it: a throw-away server on loopback, for tests.
#
#   start   installs what is missing (Debian, as root), makes fresh data, waits for an answer, and
#           prints NAME=value lines, nothing else, on standard output
#   stop    ends the server and removes its data
#
# A script sets `name` and `port`, defines `install`, `launch` (leaves the server running in the
# background, its process number in $state/pid), `answers`, `finish` and `variables`, and calls main.
set -euo pipefail

state=${LAGAR_SERVICES:-${XDG_CACHE_HOME:-$HOME/.cache}/lagar-services}/$name

tell() { printf '%s: %s\n' "$name" "$*" >&2; }

give_up() {
  tell "$*"
  [ ! -s "$state/log" ] || tail -n 20 "$state/log" >&2
  exit 1
}

# Debian packages, without the system service that some of them start when they are installed.
packages() {
  [ "$(id -u)" = 0 ] || give_up "missing packages; as root: apt-get install --no-install-recommends $*"
  tell "installing $*"
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  local failed=
  {
    apt-get update &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
  } >"$state/log" 2>&1 </dev/null || failed=yes
  [ -z "$ours" ] || rm -f "$policy"
  [ -z "$failed" ] || give_up "cannot install $*"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# A process that has ended and that nobody has waited for does not run.
running() { [ -s "$state/pid" ] && grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$(cat "$state/pid")/status"; }

start() {
  mkdir -p "$state"
  stop
  install
  ! listening || give_up "port $port is taken"
  launch
  for _ in {1..300}; do
    if answers >/dev/null 2>&1; then
      variables
      return
    fi
    running || give_up "ended while starting"
    sleep 0.1
  done
  give_up "does not answer after 30 s"
}

stop() {
  if running; then
    finish >/dev/null 2>&1 || true
    local tries
    for tries in {1..200}; do
      running || break
      # Half of the patience is for an orderly end.
      ((tries != 100)) || kill -KILL "$(cat "$state/pid")" 2>/dev/null || true
      sleep 0.1
    done
  fi
  ! running || give_up "process $(cat "$state/pid") does not end"
  [ ! -s "$state/data" ] || rm -rf -- "$(cat "$state/data")"
  rm -rf -- "$state/pid" "$state/data" "$state/log"
}

main() {
  case ${1:-} in
    start) start ;;
    stop) stop ;;
    *)
      echo "usage: $0 start|stop" >&2
      exit 2
      ;;
  esac
}
