# SPDX-License-Identifier: Apache-2.0
# The front door. Inside, CMake with Ninja builds (CMakePresets.json) and toolchain/ sets the machine up.
.PHONY: help setup build run stop demo image test fuzz bench bench-hyp bench-sched bench-sched-wall bench-sched-hyp soak clean
.DEFAULT_GOAL := help
SHELL := /bin/bash

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## packages, cross sysroot, kernels, QEMU, root file systems (a second run downloads nothing)
	@toolchain/setup.sh

build: setup ## everything, into build/
	@toolchain/build.sh

run: build ## the cloud server and an emulated phone; leaves you at the phone; SCHED=bal: docs/scheduling.md
	@emulator/run.sh

stop: ## end the phone and the cloud server that `make run` started
	@emulator/stop.sh

demo: build ## the main job as a scripted scenario: dock, work in the cloud, come home
	@python3 tests/e2e/demo.py

image: ## the SD card of a board: BOARD=cubieboard2 or orangepi-pc (docs/boards.md)
	@grep -qs FIRMWARE= "board/$(BOARD)/recipe.sh" || { echo "make image: say BOARD=cubieboard2 or BOARD=orangepi-pc" >&2; exit 2; }
	@$(MAKE) --no-print-directory build
	@toolchain/build.sh boards
	@toolchain/image.sh "$(BOARD)"

test: build ## all tests
	@toolchain/build.sh pc-tests pc-sanitize test-module scx-tests boards bench-sched-hyp
	@tests/run.sh

fuzz: build ## hostile guests and hostile bytes with new seeds: FUZZ_MINUTES=10 (tests/fuzz/README.md)
	@toolchain/build.sh pc-sanitize
	@python3 tests/fuzz/run.py --minutes "$(or $(FUZZ_MINUTES),10)"

bench: build ## the figures: build/bench/handoff.json and a table
	@python3 tests/bench/handoff.py

bench-hyp: build ## what the hypervisor costs beside Xen, in instructions: build/bench/hyp.json and tables (10 min)
	@toolchain/bench.sh
	@toolchain/build.sh test-module bench-load
	@python3 tests/bench/hyp.py

bench-sched: setup ## the dissertation's scheduling experiments, simulated: build/bench/sched.json and plots; what a decision costs (10 min)
	@toolchain/plots.sh
	@toolchain/build.sh sim bench-sched-cost
	@python3 tests/bench/sched/simulate.py
	@/usr/bin/python3 tests/bench/sched/plots.py
	@python3 tests/bench/sched/cost.py

bench-sched-wall: build ## Linux guests under each scheduling policy, wall clock, two CPUs: build/bench/sched-wall.json and a table (20 min, quiet)
	@toolchain/bench-wall.sh
	@python3 tests/bench/sched/wall.py

bench-sched-hyp: setup ## lock-holder preemption counted on the emulated board, beside the simulator: build/bench/sched-hyp.json (11 min)
	@toolchain/build.sh bench-sched-hyp
	@python3 tests/bench/sched/hyp.py

soak: build ## longer runs of the tests
	@tests/soak.sh

clean: ## removes build/; the data of phones and clouds and the cache of downloads stay
	rm -rf build
