# SPDX-License-Identifier: Apache-2.0
# The freestanding hypervisor: Debian's armhf cross compiler without libraries. Flags stand in hyp/CMakeLists.txt.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(CMAKE_C_COMPILER arm-linux-gnueabihf-gcc)
set(CMAKE_CXX_COMPILER arm-linux-gnueabihf-g++)
set(CMAKE_ASM_COMPILER arm-linux-gnueabihf-gcc)
set(CMAKE_OBJCOPY arm-linux-gnueabihf-objcopy CACHE FILEPATH "objcopy for the image")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
