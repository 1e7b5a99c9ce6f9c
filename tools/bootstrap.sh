#!/bin/sh
# The door behind `npm start`, `npm test` and the other scripts: finds out what this machine lacks, says what will be
# installed and why, asks where there is somebody to ask, installs it, and hands over to the pinned Node.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd -P)
verb=$1
shift
cd "$here"

fail() {
  printf 'berth: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

say() { printf '%s\n' "$*" >&2; }

yes=false
[ -n "${CI:-}" ] && yes=true
[ -t 0 ] && [ -t 2 ] || yes=true
# --yes is ours; every other argument passes through.
count=$#
while [ "$count" -gt 0 ]; do
  argument=$1
  shift
  count=$((count - 1))
  if [ "$argument" = --yes ] || [ "$argument" = -y ]; then yes=true; else set -- "$@" "$argument"; fi
done

[ "$(uname -s)" = Linux ] || fail "Berth runs on Linux; this is $(uname -s)." "On other systems run it inside a Linux virtual machine."
case $(uname -m) in
  x86_64 | aarch64) ;;
  *) fail "Berth ships Node for x86_64 and aarch64; this machine is $(uname -m)." ;;
esac

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1; then as_root="sudo"; else
    fail "Berth makes namespaces, mounts and cgroups and needs root; you are $(id -un) and there is no sudo." "Run it as root, or install sudo: apt-get install sudo"
  fi
fi

# What the program runs or loads: command or library, Debian package, reason.
needs() {
  cat <<'NEEDS'
command crun crun runs containers (fast OCI runtime)
command runc runc runs containers where crun cannot
command conmon conmon holds each container, so that it outlives Berth
command tini-static tini the init of containers that ask for one (docker run --init)
library libnftables.so.1 libnftables1 services, published ports and address translation
library libseccomp.so.2 libseccomp2 system-call filters, compiled once for all containers
command ps procps the processes of a container (docker top)
command unshare util-linux private namespaces
command nsenter util-linux private namespaces
command ip iproute2 private networks of the tests and benchmarks
command busybox busybox-static the base image of the examples and tests
NEEDS
  if [ "$verb" = test ] || [ "$verb" = conformance ]; then
    cat <<'NEEDS'
command skopeo skopeo an independent client that judges the registry
NEEDS
  fi
}

present() { # kind name
  case $1 in
    command) command -v "$2" >/dev/null 2>&1 || [ -x "/usr/sbin/$2" ] || [ -x "/sbin/$2" ] ;;
    library)
      for folder in /usr/lib/*-linux-gnu /lib/*-linux-gnu /usr/lib /usr/lib64; do
        [ -e "$folder/$2" ] && return 0
      done
      return 1
      ;;
  esac
}

missing=""
reasons=""
while read -r kind name package reason; do
  present "$kind" "$name" && continue
  case " $missing " in *" $package "*) continue ;; esac
  missing="$missing $package"
  reasons="$reasons
  $package: $reason"
done <<NEEDS
$(needs)
NEEDS

npm_needed=true
stamp=node_modules/.berth-lock
[ -f "$stamp" ] && cmp -s package-lock.json "$stamp" && npm_needed=false

if [ -n "$missing" ] || [ "$npm_needed" = true ]; then
  say "Berth needs a few things on this machine:"
  [ -n "$missing" ] && say "from the distribution's packages:$reasons"
  if [ "$npm_needed" = true ]; then
    say "from the npm registry, pinned in package-lock.json, into $here/node_modules:"
    say "  the Node 26 binary Berth runs on, and the libraries listed in package.json"
  fi
  if [ "$yes" = false ]; then
    printf 'Install them? [Y/n] ' >&2
    read -r answer
    case $answer in [nN]*) fail "nothing was installed." ;; esac
  fi
fi

if [ -n "$missing" ]; then
  command -v apt-get >/dev/null 2>&1 || fail "this distribution has no apt-get, so these packages must be installed by hand:$missing" "Berth's own set-up knows Debian and Ubuntu."
  # shellcheck disable=SC2086
  if ! DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y --no-install-recommends $missing >/tmp/berth-apt.$$ 2>&1; then
    $as_root apt-get update >/tmp/berth-apt.$$ 2>&1 || { tail -5 /tmp/berth-apt.$$ >&2; rm -f /tmp/berth-apt.$$; fail "apt-get update failed (above)." "Check the machine's package sources and network, then run the same command again."; }
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y --no-install-recommends $missing >/tmp/berth-apt.$$ 2>&1 || { tail -5 /tmp/berth-apt.$$ >&2; rm -f /tmp/berth-apt.$$; fail "apt-get install$missing failed (above)." "Install them by hand, then run the same command again."; }
  fi
  rm -f /tmp/berth-apt.$$
fi

if [ "$npm_needed" = true ]; then
  # Not `npm ci`: it refuses a lock without the linters' packages for other platforms, which not every registry mirror has.
  npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || fail "npm install failed (above)." "Check the network and the npm registry, then run the same command again."
  cp package-lock.json "$stamp"
fi

grep -qw overlay /proc/filesystems || $as_root modprobe overlay 2>/dev/null || fail "the kernel has no overlay file system, which holds container file systems." "Load it (modprobe overlay) or boot a kernel that has it."

case $verb in
  start) exec $as_root "$here/bin/berth" up "$@" ;;
  *) exec $as_root sh "$here/tools/node.sh" "$here/tools/$verb.ts" "$@" ;;
esac
