#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Longer runs: what takes too long for every `make test` (boards that hang and crash), then everything that runs a
# phone or a cloud, again and again (ROUNDS, default 5). Called by `make soak`.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -m unittest discover --start-directory tests/board --pattern crash.py --verbose
for round in $(seq "${ROUNDS:-5}"); do
  echo "== round $round"
  tests/run.sh cloud phone faults
done
