#!/bin/sh
# The run-time mount namespace of one instance (docs/ARCHITECTURE.md, "Containers" 6). crun refuses a hybrid cgroup tree
# that it can see, so the node process and all it starts live in a mount namespace without /sys/fs/cgroup/unified. It is
# one namespace per instance, held by a bind mount in the run directory, and entered again after a restart. Nothing else
# is private in there: the state and run directories are shared mounts, so mounts below them are seen on both sides. crun
# makes plain folders where that tree was: they lie in a file system that goes with the namespace.
#
#   enter-namespace.sh enter RUN_DIRECTORY STATE_DIRECTORY COMMAND [ARGUMENT...]   run the command inside (exec); absolute paths
#   enter-namespace.sh leave RUN_DIRECTORY STATE_DIRECTORY                         take it all down; only when nothing runs inside
#
# On machines with a pure v1 or a pure v2 tree no namespace is needed and none is made.
set -eu

fail() {
  echo "berth: $*" >&2
  exit 1
}

# Makes a directory a mount of its own that shares what is mounted below it.
share() {
  mkdir -p "$1"
  mountpoint -q "$1" || mount --bind "$1" "$1"
  mount --make-shared "$1"
}

held() {
  [ "$(stat -f -c %T "$1" 2>/dev/null)" = nsfs ]
}

# Makes the namespace and holds it. The kernel binds only a namespace that is younger than ours, and tells their age by
# numbers that each processor hands out in batches (Linux 6.18): inside another namespace the first processor asked may
# be behind, and the one that made ours never is.
make_held() {
  processor=0
  while [ "$processor" -lt "$(nproc --all)" ]; do
    if taskset -c "$processor" unshare --mount="$pin" --propagation unchanged sh -c 'mount --make-private /sys/fs/cgroup && umount /sys/fs/cgroup/unified && mount -t tmpfs -o mode=755 berth /sys/fs/cgroup/unified' 2>"$pin.error"; then
      rm -f "$pin.error"
      return 0
    fi
    processor=$((processor + 1))
  done
  cat "$pin.error" >&2
  return 1
}

[ $# -ge 3 ] || fail "usage: $0 enter|leave RUN_DIRECTORY STATE_DIRECTORY [COMMAND...]"
verb=$1
run=$2
state=$3
shift 3
pin=$run/ns/mnt

case $verb in
enter)
  [ $# -ge 1 ] || fail "enter needs a command"
  # After a restart all is there, and it was made below the shared mounts: a process that comes back takes no second look.
  if held "$pin"; then exec nsenter --mount="$pin" -- "$@"; fi
  share "$state"
  share "$run"
  if [ ! -f /sys/fs/cgroup/unified/cgroup.controllers ]; then
    exec "$@"
  fi
  mkdir -p "$run/ns"
  # A mount namespace can only be held below a private mount.
  mountpoint -q "$run/ns" || mount --bind "$run/ns" "$run/ns"
  mount --make-private "$run/ns"
  : >"$pin"
  make_held || fail "the run-time mount namespace cannot be made at $pin"
  exec nsenter --mount="$pin" -- "$@"
  ;;
leave)
  if held "$pin"; then umount "$pin"; fi
  rm -f "$pin"
  for directory in "$run/ns" "$run" "$state"; do
    while mountpoint -q "$directory"; do umount -l "$directory"; done
  done
  ;;
*) fail "unknown verb '$verb': enter or leave" ;;
esac
