#!/usr/bin/env bash
# Installs what loopc needs on Debian 12, and nothing that is already there. Sourced or called by the other scripts.
set -euo pipefail

packages=(
  clang-22 lld-22 liblld-22-dev llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools libclang-rt-22-dev
  cmake ninja-build ccache git pkg-config
  nlohmann-json3-dev libcli11-dev libeigen3-dev libpcre2-dev libxxhash-dev libgtest-dev libgmock-dev
  python3 python3-pip unzip
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
command -v apt-get >/dev/null || { echo "setup: expected Debian 12 with apt-get, but there is none; install the packages above by hand" >&2; exit 1; }
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
