# Sourced by the scripts beside it: a throw-away server on loopback, for tests.
#
#   start   installs what is missing (Debian, as root), makes fresh data, waits for an answer, and
#           prints NAME=value lines, nothing else, on standard output
#   stop    ends the server and removes its data
#   kill    SIGKILL to the server and its children; the data stays
#   restart ends the server if it runs, and starts it again with the data that it has
#
# A script sets `name` and `port`, defines `install`, `launch` (leaves the server running in the
# background, its process number in $state/pid; new data where $state/data names none), `answers`,
# `finish` and `variables`, and calls main. A second server of a kind runs beside the first with
# another $LAGAR_SERVICES and another port.
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

# PID: it and all its descendants.
family() {
  local stat child parent _
  echo "$1"
  for stat in /proc/[0-9]*/stat; do
    { read -r child _ <"$stat"; } 2>/dev/null || continue
    { read -r _ parent _ < <(sed 's/.*) //' "$stat"); } 2>/dev/null || continue
    [ "$parent" != "$1" ] || family "$child"
  done
}

start() {
  mkdir -p "$state"
  stop
  install
  begin
}

begin() {
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
  end
  [ ! -s "$state/data" ] || rm -rf -- "$(cat "$state/data")"
  rm -rf -- "$state/pid" "$state/data" "$state/log"
}

restart() {
  [ -s "$state/data" ] || give_up "was never started"
  end
  begin
}

kill_it() {
  running || give_up "does not run"
  local all tries
  mapfile -t all < <(family "$(cat "$state/pid")")
  kill -KILL "${all[@]}" 2>/dev/null || true
  for tries in {1..100}; do
    running || listening || return 0
    sleep 0.1
  done
  give_up "outlives SIGKILL"
}

end() {
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
}

# FOLDER: an authority of a day, and with it the certificate of a server on localhost.
certificates() {
  local new=(req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  {
    openssl "${new[@]}" -x509 -days 2 -subj /CN=lagar-test-authority -keyout "$1/ca.key" -out "$1/ca.pem" &&
      openssl "${new[@]}" -subj /CN=localhost -keyout "$1/server.key" -out "$1/server.csr" &&
      openssl x509 -req -days 2 -in "$1/server.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial \
        -extfile <(echo subjectAltName=DNS:localhost) -out "$1/server.pem"
  } >>"$state/log" 2>&1 || give_up "openssl failed"
  chmod 600 "$1/server.key"
}

main() {
  case ${1:-} in
    start) start ;;
    stop) stop ;;
    kill) kill_it ;;
    restart) restart ;;
    *)
      echo "usage: $0 start|stop|kill|restart" >&2
      exit 2
      ;;
  esac
}
