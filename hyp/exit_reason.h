/* SPDX-License-Identifier: Apache-2.0 */
/* Why enter_guest() returned. Read by vectors.S and C++. */
#ifndef AMPHION_EXIT_REASON_H
#define AMPHION_EXIT_REASON_H

#define AMPHION_EXIT_TRAP 1
#define AMPHION_EXIT_IRQ 2

#endif
