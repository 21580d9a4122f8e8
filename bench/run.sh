#!/usr/bin/env bash
# Prints the figures of docs/performance.md, each with a ratio to a named peer or limit measured in the same run. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
export KILN_PROGRAM=$PWD/build/release/kiln KILN_TEST_CACHE=$PWD/build/release/test-cache PYTHONDONTWRITEBYTECODE=1
for program in ${*:-bake memory buildah mkosi catalog launch image ssh crowd packer packer_bake refresh region registry}; do
  echo "== $program"
  python3 "bench/$program.py"
done
