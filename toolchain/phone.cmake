# SPDX-License-Identifier: Apache-2.0
# The phone's user space: Debian's armhf cross compiler with the sysroot of toolchain/sysroot.sh.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR armv7l)

set(AMPHION_CACHE "$ENV{AMPHION_CACHE}")
if(NOT AMPHION_CACHE)
  set(AMPHION_CACHE "$ENV{HOME}/.cache/amphion")
endif()
set(CMAKE_SYSROOT "${AMPHION_CACHE}/sysroot")
if(NOT EXISTS "${CMAKE_SYSROOT}/usr/include/evdev.h" AND NOT EXISTS "${CMAKE_SYSROOT}/usr/lib")
  message(FATAL_ERROR "no sysroot in ${CMAKE_SYSROOT}: run toolchain/sysroot.sh, or set AMPHION_CACHE")
endif()

set(CMAKE_C_COMPILER arm-linux-gnueabihf-gcc)
set(CMAKE_CXX_COMPILER arm-linux-gnueabihf-g++)
set(CMAKE_LIBRARY_ARCHITECTURE arm-linux-gnueabihf)
# psabi: a note about gcc older than 7, which nothing here was built with.
set(CMAKE_CXX_FLAGS_INIT "-mcpu=cortex-a7 -mfpu=neon-vfpv4 -Wno-psabi")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-arm-static -L "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/arm-linux-gnueabihf/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig")

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# protoc runs on the PC; both are of the same Debian release.
find_program(AMPHION_PROTOC protoc PATHS /usr/bin NO_CMAKE_FIND_ROOT_PATH)
set(Protobuf_PROTOC_EXECUTABLE "${AMPHION_PROTOC}" CACHE FILEPATH "protoc of the PC")
