# SPDX-License-Identifier: Apache-2.0
# Orange Pi PC: firmware, device tree, and drivers of the host instance. Sourced by the scripts that make its card.
# Debian has no U-Boot of its own for it; the Orange Pi Plus has the same SoC, memory and SD card.
. "$ROOT_DIR/board/allwinner/recipe.sh"
readonly FIRMWARE=orangepi_plus
readonly DEVICE_TREE=sun8i-h3-orangepi-pc.dtb
readonly HOST_MODULES="$ALLWINNER_MODULES dwmac-sun8i sun8i-mixer sun8i_tcon_top sun4i-tcon sun8i-drm-hdmi sun4i-drm"
