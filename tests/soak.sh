#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Longer runs: everything that runs a phone or a cloud, again and again (ROUNDS, default 5). Called by `make soak`.
set -euo pipefail
cd "$(dirname "$0")/.."
for round in $(seq "${ROUNDS:-5}"); do
  echo "== round $round"
  tests/run.sh cloud phone faults
done
