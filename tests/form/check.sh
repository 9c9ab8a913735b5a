#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Form: every source file opens with one SPDX line of the licence its folder has; no link in docs/ or a README points nowhere,
# nor to a heading that is not there.
set -uo pipefail
cd "$(dirname "$0")/../.."
failed=0
complain() { echo "form: $1" >&2; failed=1; }

licence_for() {
  case "$1" in
    sched/core/* | sched/scx/*) echo 'MIT OR GPL-2.0-only' ;;
    hyp/abi/* | guest-kernel-mods/* | tests/guest/*) echo 'GPL-2.0-only' ;;
    *) echo 'Apache-2.0' ;;
  esac
}

while read -r file; do
  want=$(licence_for "$file")
  head -n 3 "$file" | grep -q "SPDX-License-Identifier: .*$want" || complain "$file: no SPDX line with $want in its first three lines"
  [ "$(head -n 5 "$file" | grep -c 'SPDX-License-Identifier')" -le 1 ] || complain "$file: more than one SPDX line"
done < <(git ls-files | grep -E '\.(c|h|cpp|hpp|S|py|sh|proto|cmake|ld|lds|dts|lds\.S)$|(^|/)(Makefile|Kbuild|CMakeLists\.txt)$')

anchors() {  # of a page's headings, as GitHub makes them
  sed -nE 's/^#+ +//p' "$1" | sed -E 's/\[([^]]*)\]\([^)]*\)/\1/g' | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'
}

while read -r file; do
  dir=$(dirname "$file")
  while read -r target; do
    page=${target%%#*}
    page=${page:+$dir/$page}
    page=${page:-$file}
    [ -e "$page" ] || { complain "$file: links to $target, which does not exist"; continue; }
    [ ! -d "$page" ] || page=$page/README.md
    case "$target" in *'#'*) anchors "$page" | grep -qxF -- "${target#*#}" || complain "$file: links to $target, and $page has no such heading" ;; esac
  done < <(grep -oE '\]\([^)]+' "$file" | sed 's/^](//' | grep -vE '^[a-z]+:' | sort -u)
done < <(git ls-files '*.md')

[ "$failed" -eq 0 ] && echo "form: licence lines and links are in order"
exit "$failed"
