#!/usr/bin/env python3
"""Decode speed: loopc beside eager PyTorch in the same run, alternating, medians and their ratio.

    python3 benchmarks/decode.py [--model parcae-140m] [--dtype f32] [--batch 1] [--rounds 3] [--json FILE]

Needs PyTorch (PyPI) in the interpreter that runs it and build/bin/loopc. Both sides use the same shapes, random weights, two
threads, a context of 128 tokens and the published loop count. For each figure a line gives milliseconds per step of both, the
ratio (above 1: loopc is faster) and the fraction of the read bandwidth that `loopc bench` measured at the same footprint.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import torch

import torch_models

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = {"parcae-140m": ("parcae.loop", torch_models.Parcae), "ouro-1.4b": ("ouro.loop", torch_models.Ouro)}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def peer_steps(model, context, steps):
    """Milliseconds of each of `steps` decode steps after `context` tokens; the first two are not counted."""
    times = []
    with torch.inference_mode():
        for index in range(steps + 2):
            begin = time.perf_counter()
            model.token(context + index)
            times.append(1e3 * (time.perf_counter() - begin))
    return times[2:]


def loopc_bench(loopc, spec, config, dtype, batch, context, steps, threads):
    command = [loopc, "bench", ROOT / "models" / spec, "--config", config, "--random-weights", "1", "--what", "decode", "--batch", batch,
               "--context", context, "--threads", threads, "--dtype", dtype, "--steps", steps, "--json"]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(f"decode.py: loopc bench ended with {result.returncode}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--dtype", action="append", choices=list(DTYPES))
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loopc", default=ROOT / "build/bin/loopc", help="the loopc to time")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    print(f"PyTorch {torch.__version__}, {options.threads} threads, context {options.context}; ratio above 1: loopc is faster")
    print("| model | type | batch | loopc ms/step | PyTorch eager ms/step | ratio | bandwidth fraction |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.model or list(MODELS):
        spec, peer = MODELS[name]
        path = ROOT / "benchmarks/configs" / f"{name}.json"
        config = json.loads(path.read_text())
        for dtype in options.dtype or (["f32", "bf16"] if name != "ouro-1.4b" else ["bf16"]):
            for batch in options.batch or [1]:
                model = peer(config, DTYPES[dtype], batch, options.context + options.steps + 2, None)
                ours, theirs, fraction = [], [], []
                for _ in range(options.rounds):
                    theirs.append(statistics.median(peer_steps(model, options.context, options.steps)))
                    result = loopc_bench(options.loopc, spec, path, dtype, batch, options.context, options.steps, options.threads)
                    ours.append(result["ms_per_step"])
                    fraction.append(result["bandwidth_fraction"])
                del model
                row = {"model": name, "dtype": dtype, "batch": batch, "loopc_ms": statistics.median(ours), "torch_eager_ms": statistics.median(theirs),
                       "ratio": statistics.median(t / o for t, o in zip(theirs, ours)), "bandwidth_fraction": statistics.median(fraction)}
                rows.append(row)
                print(f"| {name} | {dtype} | {batch} | {row['loopc_ms']:.1f} | {row['torch_eager_ms']:.1f} | {row['ratio']:.2f} | {row['bandwidth_fraction']:.2f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    sys.exit(main())
