#!/bin/sh
# The door behind every npm script: sets up what is missing, then runs the verb with the pinned Node.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd -P)
verb=$1
shift
cd "$here"
stamp=node_modules/.berth-lock
if [ ! -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  npm ci --ignore-scripts --no-audit --no-fund >&2
  cp package-lock.json "$stamp"
fi
exec sh tools/node.sh "tools/$verb.ts" "$@"
