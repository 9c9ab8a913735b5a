// SPDX-License-Identifier: Apache-2.0
// What the host does itself before its suite: calls.cpp for the tests, figures.cpp for the benchmark.
#pragma once

namespace amphion::lab {

// Ends the board at the first thing that is wrong. No instance exists before and after.
void before_suite();

}  // namespace amphion::lab
