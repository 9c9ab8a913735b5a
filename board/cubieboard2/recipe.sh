# SPDX-License-Identifier: Apache-2.0
# Cubieboard2: firmware, device tree, and drivers of the host instance (its AXP209 switches the board off and has the power
# key). Sourced by the scripts that make its card.
. "$ROOT_DIR/board/allwinner/recipe.sh"
readonly FIRMWARE=Cubieboard2
readonly DEVICE_TREE=sun7i-a20-cubieboard2.dtb
readonly HOST_MODULES="axp20x-regulator axp20x-pek $ALLWINNER_MODULES dwmac-sunxi realtek sun4i-backend sun4i-frontend sun4i-tcon
  sun4i-drm-hdmi sun4i-drm"
