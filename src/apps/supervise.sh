#!/bin/sh
# Keeps one process of Berth running: supervise.sh NAME RUN_DIR LOG_FILE COMMAND…
# Killing this loop or the process harms nothing: containers run on, and the next start adopts them.
name=$1 run=$2 log=$3
shift 3
child=""
stopping=false
stop() {
  stopping=true
  [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT
echo $$ >"$run/$name.supervisor.pid"
pause=0.05
while [ "$stopping" = false ]; do
  # A log of more than 16 MB makes room: one older file is kept.
  if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt 16777216 ]; then mv -f "$log" "$log.1"; fi
  started=$(date +%s%N)
  "$@" </dev/null >>"$log" 2>&1 &
  child=$!
  echo "$child" >"$run/$name.pid"
  # A trapped signal ends `wait` early: wait again until the process has really ended.
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
  [ "$stopping" = true ] && break
  # A process that lived a second comes back at once; one that dies at its start waits longer and longer, to 3.2 s.
  if [ $(($(date +%s%N) - started)) -ge 1000000000 ]; then
    pause=0.05
    continue
  fi
  sleep "$pause"
  case $pause in 0.05) pause=0.1 ;; 0.1) pause=0.2 ;; 0.2) pause=0.4 ;; 0.4) pause=0.8 ;; 0.8) pause=1.6 ;; *) pause=3.2 ;; esac
done
rm -f "$run/$name.pid" "$run/$name.supervisor.pid"
