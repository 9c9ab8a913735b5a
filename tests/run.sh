#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole test suite, in the order in which a failure is cheapest to find. Called by `make test`, which has set the
# machine up and built everything. Each step prints its time; the first failure ends the run.
# Usage: tests/run.sh [STEP...]   steps, and their order: form toolchain unit hyp fuzz scx cloud phone boards faults (default: all)
set -uo pipefail
cd "$(dirname "$0")/.."

step_form() { bash tests/form/check.sh; }
step_toolchain() { tests/toolchain/check.sh; }
step_unit() { ctest --test-dir build/pc-sanitize --output-on-failure --label-exclude 'e2e|qemu' -j 2; }
step_hyp() { python3 tests/hyp/run.py && python3 tests/hyp/contend.py; }
step_fuzz() { python3 tests/fuzz/run.py --short; }
step_scx() { python3 tests/scx/run.py; }
step_cloud() { ctest --test-dir build/pc --output-on-failure --label-regex 'e2e|qemu'; }
step_phone() { python3 tests/e2e/demo.py --report-times; }  # a test asserts no time
step_boards() {  # the cards, and the same scenario from one
  python3 -m unittest discover --start-directory tests/board --pattern 'test_*.py' &&
    python3 tests/e2e/demo.py --board orangepi-pc --report-times
}
step_faults() { python3 -m unittest discover --start-directory tests/e2e --pattern 'test_*.py' --verbose; }

run() {
  local started=$SECONDS
  echo "== $1"
  if "step_$1"; then
    echo "== $1: passed in $((SECONDS - started)) s"
  else
    echo "== $1: FAILED after $((SECONDS - started)) s" >&2
    exit 1
  fi
}

[ $# -gt 0 ] || set -- form toolchain unit hyp fuzz scx cloud phone boards faults
for step in "$@"; do
  declare -F "step_$step" >/dev/null || { echo "tests/run.sh: unknown step '$step' (form, toolchain, unit, hyp, fuzz, scx, cloud, phone, boards, faults)" >&2; exit 2; }
  run "$step"
done
echo "all steps passed in $SECONDS s"
