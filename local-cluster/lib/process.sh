# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh and up set the variables
# Starts, watches and stops the cluster's daemons. There is no service manager: a file for each daemon holds its process id.

# start_time PID: when the process started, in clock ticks since boot (proc(5), field 22 of stat). It tells a process
# from a later one with the same id.
start_time() { [ -r "/proc/$1/stat" ] && sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# running NAME: whether the process that `start NAME` started still runs.
running() {
  local pid since
  [ -f "$state/run/$1" ] && read -r pid since <"$state/run/$1" && [ "$(start_time "$pid")" = "$since" ]
}

# start NAME COMMAND...: starts a daemon in a session of its own, unless it runs.
start() {
  local name=$1 pid
  shift
  running "$name" && return
  say "start $name"
  setsid "$@" >>"$state/log/$name" 2>&1 </dev/null &
  pid=$!
  sleep 0.1
  echo "$pid $(start_time $pid)" >"$state/run/$name"
}

# stop NAME: sends SIGTERM, and SIGKILL after ten seconds.
stop() {
  local pid _
  if running "$1"; then
    read -r pid _ <"$state/run/$1"
    say "stop $1"
    kill "$pid" 2>/dev/null || true
    for _ in {1..100}; do running "$1" || break; sleep 0.1; done
    if running "$1"; then kill -9 "$pid"; fi
  fi
  rm -f "$state/run/$1"
}

# wait_until SECONDS WHAT COMMAND...: runs the command twice a second until it succeeds; shows its last error otherwise.
wait_until() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then say "timeout: $what"; "$@" >&2 || true; return 1; fi
    sleep 0.5
  done
  say "$what"
}
