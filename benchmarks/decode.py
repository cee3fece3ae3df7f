#!/usr/bin/env python3
"""Decode speed: loopc beside its peers in alternating rounds, medians and ratios.

    python3 benchmarks/decode.py [--model parcae-140m] [--dtype f32] [--batch 1] [--peers torch-eager,openvino] [--json FILE] [--plot FILE]

Every side computes the same shapes with random weights after a context of 128 tokens. A line gives the milliseconds of a step of loopc,
its fraction of the roofline, and for each peer milliseconds and, in parentheses, the ratio to loopc (above 1: loopc is faster). Peers that
are not installed are left out with a note. docs/benchmarks.md says how each is run.
"""
import json
import sys

import common

#: what is timed when nothing is chosen
DEFAULT = [("parcae-140m", "f32"), ("parcae-140m", "bf16"), ("ouro-1.4b", "bf16"), ("smollm2-135m", "q8_0"), ("smollm2-135m", "q4_1")]


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--batch", action="append", type=int, help="default: 1 and 8")
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, help="default: as published")
    options = parser.parse_args()
    peers = [name for name in common.chosen_peers(options) if options.peers or name != "jax"]  # JAX is for compile times
    print(f"{options.threads} threads, context {options.context}; in parentheses: peer / loopc, above 1 loopc is faster")
    common.header("model", "type", "batch", "loopc ms/step", "of roofline", *peers)
    rows, missing = [], {}
    for model, dtype in pairs(options):
        for batch in options.batch or [1, 8]:
            case = common.Case(model, "decode", dtype, batch, options.context, options.steps, options.threads, options.loops)
            try:
                row = common.compare(case, peers, options.rounds, options.loopc, options.python)
            except common.Unavailable as reason:
                missing[str(reason)] = True
                continue
            rows.append(row)
            common.line(model, dtype, batch, f"{row['loopc_ms']:.4g}", f"{row['roofline_fraction']:.2f}",
                        *(common.cell(row["peers"][name]) for name in peers))
    for note in [*missing, *common.notes(rows)]:
        print("left out: " + note)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.plot:
        groups = [(f"{row['model']} {row['dtype']} batch {row['batch']}",
                   [("loopc", row["loopc_ms"])] + [(name, peer.get("ms")) for name, peer in row["peers"].items()]) for row in rows]
        common.bar_plot(options.plot, "Decoding, milliseconds a step", groups, "ms")


def pairs(options):
    if not options.model and not options.dtype:
        return DEFAULT
    known = dict.fromkeys(model for model, _ in DEFAULT)
    return [(model, dtype) for model in options.model or known
            for dtype in options.dtype or [d for m, d in DEFAULT if m == model] or ["f32", "bf16"]]


if __name__ == "__main__":
    sys.exit(main())
