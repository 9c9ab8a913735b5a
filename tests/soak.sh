#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Longer runs: the scenario again and again (ROUNDS, default 5), and the faults on the emulated phone. Called by `make soak`.
set -euo pipefail
cd "$(dirname "$0")/.."
for round in $(seq "${ROUNDS:-5}"); do
  echo "== round $round"
  tests/run.sh cloud phone
done
tests/run.sh faults
