#!/usr/bin/env bash
# Long runs of the schedule tests: 10,000 random schedules on compiled code, as many of the scheduler alone, 100,000 short
# requests with flat memory; 1,000 random programs. usage: nightly.sh [SCHEDULES [FIRST_SEED]]; seeds are printed, and a failure names its own.
set -euo pipefail
cd "$(dirname "$0")/.."
schedules=${1:-10000}
seed=${2:-$(date -u +%y%m%d)00000}

scripts/build.sh ScheduleTests EngineTests loopc
echo "schedules $seed .. $((seed + schedules - 1))"
status=0
LOOPC_FUZZ_ROUNDS=$schedules LOOPC_FUZZ_SEED=$seed build/bin/ScheduleTests --gtest_filter='Storms.*' --gtest_brief=1 || status=1
LOOPC_FUZZ_ROUNDS=$((schedules / 3)) build/bin/EngineTests --gtest_filter='EngineFuzz.*' --gtest_brief=1 || status=1
LOOPC_REQUESTS=100000 build/bin/ScheduleTests --gtest_filter='Leaks.*' --gtest_brief=1 || status=1
scripts/random_models.py --programs 1000 || status=1
exit $status
