#!/usr/bin/env bash
# Builds everything and passes all tests: house rules, unit and simulation tests under ASan+UBSan, what has threads under
# TSan, fuzzers for a few seconds each, and end-to-end tests with real instances.
# KILN_TEST_ONLY="tidy unit tsan fuzz e2e" runs a part.
set -euo pipefail
cd "$(dirname "$0")/.."
parts=${KILN_TEST_ONLY:-tidy unit tsan fuzz e2e}
jobs=${JOBS:-$(nproc)}
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -E)
began=$SECONDS

step() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - began)); }
wants() { [[ " $parts " == *" $1 "* ]]; }
build() {
  local preset=$1
  shift
  cmake --preset "$preset" >"build/$preset.log" 2>&1 || { cat "build/$preset.log"; exit 1; }
  ninja -C "build/$preset" -j "$jobs" "$@" >"build/$preset.log" 2>&1 || { grep -vE '^\[[0-9]+/' "build/$preset.log" | tail -n 60; exit 1; }
}
suite() { ctest --test-dir "build/$1" --output-on-failure --no-tests=error -j "$jobs" "${@:2}"; }

mkdir -p build
if wants tidy; then
  step "house rules"
  python3 tools/tidy.py
fi
if wants unit; then
  step "unit and simulation tests, ASan and UBSan"
  build asan all
  suite asan -L 'unit|simulation'
fi
if wants tsan; then
  step "what has threads, TSan"
  build tsan kiln_host_test kiln_http_test kiln_ledger_test kiln_store_test kiln_registry_test kiln_bake_test kiln_elb_real_test
  suite tsan -R '^unit\.(host|http|ledger|store|registry|bake)$'
  # HAProxy's driver, the prober and the loop, on the real data plane.
  "${sudo[@]}" ctest --test-dir build/tsan --output-on-failure --no-tests=error -R '^e2e\.elb$'
fi
if wants fuzz; then
  step "fuzzers, a few seconds each"
  build asan kiln_fuzzers
  suite asan -L fuzz
fi
if wants e2e; then
  step "end to end, real instances"
  build release kiln kiln_real_tests
  "${sudo[@]}" ctest --test-dir build/release --output-on-failure --no-tests=error -j "$jobs" -L e2e
fi
step "all tests passed"
