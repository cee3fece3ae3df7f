#!/usr/bin/env bash
# The main job, end to end: a page of .loop and real weights go in, text comes out, through compiled code; once for
# SmolLM2-135M-Instruct as published and once with two of its middle layers looped.
set -euo pipefail
cd "$(dirname "$0")/.."
question=${1:-"What is the capital of France, and what is it known for?"}

scripts/build.sh loopc
weights=$(scripts/models.sh)

for model in smollm2 smollm2_looped; do
  printf '\n=== models/%s.loop (%s lines) ===\n' "$model" "$(wc -l < "models/$model.loop")"
  build/bin/loopc run "models/$model.loop" --weights "$weights" --chat -p "$question" -n 80 --stats
done

printf '\n=== decode speed of models/smollm2.loop at batch 1 ===\n'
build/bin/loopc bench models/smollm2.loop --weights "$weights" --what decode --batch 1 --context 128
