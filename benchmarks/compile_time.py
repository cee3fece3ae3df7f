#!/usr/bin/env python3
"""Seconds of compiling: loopc beside whole-step compilers, and how they grow with layers and loops.

    python3 benchmarks/compile_time.py [--model parcae-140m] [--peers torch-compiled,openvino] [--flat] [--json FILE] [--plot FILE]

First table: seconds from the model to a program that can run a step (cold), and from another loop count to the same. Weights are in
memory before. loopc takes a loop count as an argument, so its second figure is a look into the compile cache.
Second table: seconds of `loopc compile` and bytes of machine code for Ouro of 2 to 96 layers and of 1 to 64 default loops.
"""
import json
import os
import statistics
import sys
import tempfile
import time

import common
import cases

def numbers(text):
    return [int(part) for part in text.split(",")]


def loopc_times(options, case):
    """(cold, with another loop count), seconds."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LOOPC_CACHE"] = cache
        cold = common.loopc_bench(options.loopc, case)
        changed = common.loopc_bench(options.loopc, case._replace(loops=case.loops + 1))
        del os.environ["LOOPC_CACHE"]
    if not changed["compile_cached"]:
        raise SystemExit("compile_time.py: another loop count was compiled anew")
    return cold["compile_seconds"], changed["compile_seconds"]


def published_loops(model):
    config = cases.config_of(model)
    return config.get("mean_recurrence") or config.get("total_ut_steps") or 1


def against_peers(options, peers):
    common.header("model", "system", "cold, s", "another loop count, s")
    rows = []
    for model in options.model or ["parcae-140m"]:
        for dtype in options.dtype or ["f32"]:
            loops = published_loops(model)
            case = common.Case(model, "decode", dtype, 1, 16, 1, options.threads, loops)
            ours = [loopc_times(options, case) for _ in range(options.rounds)]
            rows.append({"model": model, "dtype": dtype, "system": "loopc", "cold": statistics.median(o[0] for o in ours),
                         "change": statistics.median(o[1] for o in ours)})
            for name in peers:
                worker = common.Worker(name, case, options.python)
                change = worker.change_loops(loops + 1)
                row = {"model": model, "dtype": dtype, "system": name}
                row.update({"note": worker.note} if worker.note else {"cold": worker.compile_ms / 1e3, "change": change / 1e3, "version": worker.version})
                worker.close()
                rows.append(row)
            for row in rows[-1 - len(peers):]:
                if "note" not in row:
                    common.line(f"{model} {dtype}", row["system"], f"{row['cold']:.3g}", f"{row['change']:.3g}")
    for row in rows:
        if "note" in row:
            print(f"left out: {row['system']} ({row['model']}): {row['note']}")
    return rows


def compile_once(options, layers, loops):
    spec = cases.spec_of("ouro-1.4b")[0]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        text = common.run_loopc(options.loopc, "compile", spec, "--set", f"layers={layers}", "--set", f"loops={loops}", "-o", f"{folder}/out.loopc", "--json")
        return dict(json.loads(text), layers=layers, loops=loops, seconds=time.perf_counter() - begin)


def growth(options):
    common.header("layers", "loops", "compile, s", "code, KiB")
    rows = []
    for layers, loops in [(n, 4) for n in options.layers] + [(24, n) for n in options.loops]:
        runs = [compile_once(options, layers, loops) for _ in range(options.rounds)]
        rows.append(dict(runs[0], seconds=statistics.median(run["seconds"] for run in runs)))
        common.line(layers, loops, f"{rows[-1]['seconds']:.2f}", f"{rows[-1]['code_bytes'] / 1024:.1f}")
    return rows


def plot(path, rows, layers):
    panels = []
    for axis, part in (("layers", rows[:layers]), ("loops", rows[layers:])):
        panels.append(("compile time", axis, "s", {"loopc": [(row[axis], row["seconds"]) for row in part]}))
        panels.append(("machine code", axis, "KiB", {"loopc": [(row[axis], row["code_bytes"] / 1024) for row in part]}))
    common.line_plot(path, panels)


def main():
    parser = common.parser(__doc__, types=("f32", "bf16"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=numbers, default=[2, 6, 12, 24, 48, 96], help="of the second table (default: 2,6,12,24,48,96)")
    parser.add_argument("--loops", type=numbers, default=[1, 2, 4, 8, 16, 32, 64], help="of the second table (default: 1,2,4,8,16,32,64)")
    parser.add_argument("--flat", action="store_true", help="only the second table")
    options = parser.parse_args()
    peers = [name for name in common.chosen_peers(options) if options.peers or name in ("torch-compiled", "openvino", "onnxruntime", "jax")]
    result = {"peers": [] if options.flat else against_peers(options, peers), "growth": growth(options)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.plot:
        plot(options.plot, result["growth"], len(options.layers))


if __name__ == "__main__":
    sys.exit(main())
