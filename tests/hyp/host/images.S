// SPDX-License-Identifier: Apache-2.0
// The guests' images, one for each line of the suite; see suite.hpp.
        .section .rodata, "a"
#define STRING(words) #words
#define GUEST(name, instances, vcpus, allowed)  \
        .balign 4;                              \
        .global name##_image, name##_image_end; \
name##_image: .incbin STRING(name.bin);        \
name##_image_end:
#include LAB_SUITE
        .section .note.GNU-stack, "", %progbits
