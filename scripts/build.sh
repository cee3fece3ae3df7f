#!/usr/bin/env bash
# Builds build/bin/loopc (and what else is named, for example `scripts/build.sh all`). Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
[ -f build/build.ninja ] || cmake --preset release > build-configure.log 2>&1 || { cat build-configure.log >&2; exit 1; }
rm -f build-configure.log
exec ninja -C build "${@:-loopc}"
