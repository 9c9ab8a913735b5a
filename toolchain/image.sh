#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SD card image of a board, from what is built (toolchain/build.sh boards): configuration, certificates, card.
# `make image` calls it.
# Usage: toolchain/image.sh BOARD [OUT]   (default: build/BOARD.img; one that is there is replaced, unless OUT names it)
# Environment: PKI, a folder of certificates, and CLOUD, the cloud's HOST:PORT as the phone sees it: then the phone is paired
# from the start. Without them it is paired later, by a one-time code (docs/boards.md). CARD_MIB: the card's size (2048).
. "$(dirname "$0")/common.sh"
. "$ROOT_DIR/emulator/session.sh"

readonly BOARD=${1:?usage: toolchain/image.sh BOARD [OUT]}
readonly OUT=${2:-$ROOT_DIR/build/$BOARD.img}
readonly PKI=${PKI:-} CLOUD=${CLOUD:-} CARD_MIB=${CARD_MIB:-2048}
grep -qs '^readonly FIRMWARE=' "$ROOT_DIR/board/$BOARD/recipe.sh" ||
  die "no board '$BOARD' boots from a card; there are: $(cd "$ROOT_DIR/board" && grep -l '^readonly FIRMWARE=' ./*/recipe.sh | cut -d/ -f2 | paste -sd' ')"

card() {
  [ -z "$PKI" ] || [ -f "$PKI/phone.crt" ] || "$PC_BUILD/link/amphion-pki" create "$PKI" >&2
  [ -z "$CLOUD" ] || [ -n "$PKI" ] || die "CLOUD needs the certificates of that cloud: PKI=FOLDER; or give neither, and pair the phone later"
  config=$(mktemp)
  trap 'rm -f "$config"' EXIT
  "$ROOT_DIR/emulator/phone-config.sh" "$CLOUD" >"$config"
  [ $# -gt 0 ] || rm -f "$OUT"
  "$ROOT_DIR/board/allwinner/image.sh" "$BOARD" "$OUT" "$config" "$PKI" "$CARD_MIB"
}

step "card of $BOARD" card "${@:2}"
if [ -n "$PKI" ]; then
  say "$OUT: write it to a card with dd (docs/boards.md); its owner's certificate is in $PKI"
else
  say "$OUT: write it to a card with dd; docs/boards.md says how to pair the phone and how to command it"
fi
