#!/usr/bin/env bash
# All tests: builds everything, runs every suite, prints `N passed, N failed` last. Exit status 0 only if nothing failed.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
exec python3 scripts/run_tests.py "$@"
