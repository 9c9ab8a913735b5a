#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SD card image of a board, from what is built (toolchain/build.sh boards): configuration, certificates, card.
# `make image` calls it.
# Usage: toolchain/image.sh BOARD [OUT]   (default: build/BOARD.img; one that is there is replaced, unless OUT names it)
# Environment: CLOUD, the cloud's HOST:PORT as the phone sees it (none: nothing can dock); PKI, the folder of the certificates
# (default: that of `make run`; made if there is none); CARD_MIB, the card's size (2048).
. "$(dirname "$0")/common.sh"
. "$ROOT_DIR/emulator/session.sh"

readonly BOARD=${1:?usage: toolchain/image.sh BOARD [OUT]}
readonly OUT=${2:-$ROOT_DIR/build/$BOARD.img}
readonly PKI=${PKI:-$STATE/pki} CLOUD=${CLOUD:-} CARD_MIB=${CARD_MIB:-2048}
grep -qs '^readonly FIRMWARE=' "$ROOT_DIR/board/$BOARD/recipe.sh" ||
  die "no board '$BOARD' boots from a card; there are: $(cd "$ROOT_DIR/board" && grep -l '^readonly FIRMWARE=' ./*/recipe.sh | cut -d/ -f2 | paste -sd' ')"

card() {
  [ -f "$PKI/phone.crt" ] || "$PC_BUILD/link/amphion-pki" create "$PKI" >&2
  [ -n "$CLOUD" ] || say "no CLOUD=HOST:PORT is given: the phone will have no cloud to dock to"
  config=$(mktemp)
  trap 'rm -f "$config"' EXIT
  "$ROOT_DIR/emulator/phone-config.sh" "$CLOUD" >"$config"
  [ $# -gt 0 ] || rm -f "$OUT"
  "$ROOT_DIR/board/allwinner/image.sh" "$BOARD" "$OUT" "$config" "$PKI" "$CARD_MIB"
}

step "card of $BOARD" card "${@:2}"
say "$OUT: write it to a card with dd (docs/boards.md); its owner's certificate is in $PKI"
